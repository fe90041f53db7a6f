"""Waveforms of odd types and shapes: a correct result or one clear error."""

import numpy as np
import pytest
import torch

from lafufu_sb.errors import UsageError

TONE = 100 * np.sin(np.arange(500) / 7)
WAVEFORMS = {
    "float16": torch.from_numpy(TONE).half(),
    "bfloat16": torch.from_numpy(TONE).bfloat16(),
    "float32": torch.from_numpy(TONE).float(),
    "float64": torch.from_numpy(TONE),
    "int8": torch.from_numpy(TONE.astype(np.int8)),
    "int16": torch.from_numpy((300 * TONE).astype(np.int16)),
    "int32": torch.from_numpy((10**7 * TONE).astype(np.int32)),
    "int64": torch.from_numpy(TONE.astype(np.int64)),
    "array of float16": TONE.astype(np.float16),
    "array of float64": TONE,
    "array of int16": TONE.astype(np.int16),
    "bytes in the other order": TONE.astype(">f4"),
    "read backwards": TONE[::-1],
    "every other sample": np.stack([TONE, TONE])[:, ::2],
    "transposed": torch.from_numpy(np.stack([TONE, TONE], axis=1)).T,
    "list": TONE.tolist(),
    "list of lists": [[0.0, 0.5, -0.5], [1.0, 0.0, 0.25]],
    "with a graph": torch.from_numpy(TONE).requires_grad_(),
    "one sample": torch.ones(1, 1),
    "no items": torch.ones(0, 100),
    "500 items": torch.from_numpy(np.tile(TONE[:480], (500, 1))),
    "as many items as samples": torch.from_numpy(np.tile(TONE[:20], (20, 1))),
}


@pytest.mark.parametrize("name", WAVEFORMS)
def test_waveforms_of_many_kinds_are_accepted(unchanging, name):
    given = WAVEFORMS[name]
    as_it_is = given.detach() if torch.is_tensor(given) else np.array(given, np.float32)
    wanted = torch.as_tensor(as_it_is).float()
    restored = unchanging.enhance_batch(given)
    assert restored.dtype == torch.float32 and restored.shape == wanted.shape
    peak = float(wanted.abs().max()) if wanted.numel() else 0.0
    torch.testing.assert_close(restored, wanted, atol=1e-5 * peak, rtol=0)


SHAPE = r"shape \(batch, time\)"
TRANSPOSE = r"transpose it to \(channels, time\)"
KIND = "cannot hold samples"
REFUSED = {
    "unsigned": (torch.ones(1, 9, dtype=torch.uint8), KIND),
    "array of unsigned": (np.ones((1, 9), np.uint16), KIND),
    "bool": (torch.ones(1, 9, dtype=torch.bool), KIND),
    "complex": (torch.ones(1, 9, dtype=torch.complex64), KIND),
    "text": ("in.wav", KIND),
    "nothing": (None, KIND),
    "objects": (np.array([object()]), KIND),
    "ragged": ([[0.0, 1.0], [0.0]], "not an array of numbers"),
    "number": (torch.tensor(1.0), SHAPE),
    "no samples": (torch.ones(2, 0), SHAPE),
    "empty list": ([], SHAPE),
    "batch, channels, time": (torch.ones(1, 2, 9), "make each channel an item"),
    "time, channels": (torch.ones(96000, 2), TRANSPOSE),
    "time, one channel": (np.ones((96000, 1), np.int16), TRANSPOSE),
    "time, 64 channels": (torch.ones(480, 64), TRANSPOSE),
    "a moment, two channels": (torch.ones(3, 2), TRANSPOSE),
    "NaN": (torch.tensor([[0.0, float("nan")]]), "NaN or infinite"),
    "infinity": (torch.tensor([[0.0, float("inf")]]), "NaN or infinite"),
    "beyond float32": (torch.tensor([[1e300]], dtype=torch.float64), "must be finite"),
    "array beyond float32": (np.array([[0.0, 1e300]]), "NaN or infinite"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_other_values_are_refused(unchanging, name):
    given, message = REFUSED[name]
    with pytest.raises(UsageError, match=message):
        unchanging.enhance_batch(given)


@pytest.mark.parametrize(
    ("lengths", "message"),
    [
        ([1.0], "expected 2 relative lengths"),
        ([1.0, 1.0, 1.0], "expected 2 relative lengths"),
        ([[1.0, 1.0]], "expected 2 relative lengths"),
        ([1.0, 0.0], "above 0 and up to 1"),
        ([1.0, -0.5], "above 0 and up to 1"),
        ([1.0, 1.01], "above 0 and up to 1"),
        ([480.0, 480.0], "above 0 and up to 1"),
        ([1.0, float("nan")], "above 0 and up to 1"),
    ],
)
def test_impossible_lengths_are_refused(unchanging, lengths, message):
    with pytest.raises(UsageError, match=message):
        unchanging.enhance_batch(torch.ones(2, 480), lengths)
