"""What cutting into windows does to a result, beside what another seed does.

    python benchmarks/seams.py                         # both shipped models
    python benchmarks/seams.py --calls 1 4 50 --places 6

At many places of the embedded test recordings the joint result of two windows is
compared, where they overlap, with that of either alone (its neighbours), and with that
of one window around the seam, which has context on both sides. The noise is the same at
the same place; another seed changes it.
"""

import argparse

import torch

from lafufu_sb import EnhanceLatent, shipped_model
from lafufu_sb.corpora.mini_corpus import mini_corpus_folder
from lafufu_sb.corpora.pairs import read_wav
from lafufu_sb.evaluation.tables import markdown_table
from lafufu_sb.inference.shipped import TASKS
from lafufu_sb.restoration.streaming import TensorSignal
from lafufu_sb.restoration.windows import AnchoredNoise

CORPORA = {"wham": ("EARS-WHAM", "noisy"), "reverb": ("EARS-Reverb", "reverberant")}


def read_test_signal(task):
    """The distorted test recordings of a task, one after the other, (samples,)."""
    corpus, side = CORPORA[task]
    files = sorted((mini_corpus_folder(corpus) / "test" / side).rglob("*.wav"))
    return torch.cat([read_wav(path, 48000) for path in files])


def compare(restorer, piece):
    """Squared differences in the overlap, and the power there.

    Arguments
    ---------
    restorer : Restorer
        Of which two windows cover ``piece``.
    piece : torch.Tensor
        (window + stride,).

    Returns
    -------
    torch.Tensor
        (4,) means over the samples of the overlap: of joint result and neighbours, of
        joint result and the window around, of that and another seed, power.
    """
    plan, networks = restorer.plan, restorer.inference_networks()
    peak = float(piece.abs().max())

    def shared(start, seed=0):
        """What the window from ``start`` on gives for the overlap."""
        window = piece[start : start + plan.window][None] / peak
        column = start // restorer._samples_per_column
        noise = AnchoredNoise(seed, [column], restorer._chunk)
        restored = restorer._restore_windows(networks, window, noise)[0] * peak
        return restored[plan.stride - start :][: plan.overlap]

    signal = TensorSignal(piece, peak=peak)
    joined = torch.cat([block for _, block in restorer.stream([signal])])
    joined = joined[plan.stride : plan.window]
    around = plan.stride // 2 // plan.overlap * plan.overlap
    reference, other = shared(around), shared(around, seed=1)
    neighbours = torch.cat([joined - shared(0), joined - shared(plan.stride)])
    errors = neighbours, joined - reference, other - reference, reference
    return torch.stack([e.square().mean() for e in errors])


def measure(task, calls, overlap, places):
    """RMS of neighbours, seam, other seed and result, over all places."""
    restorer = EnhanceLatent.from_hparams(source=shipped_model(task)).restorer
    # Without an overlap that which the model has for this sampler.
    restorer.adjust(sampler="bridge_sde", num_steps=calls, overlap=overlap)
    wav = read_test_signal(task)
    length = restorer.plan.window + restorer.plan.stride
    starts = torch.linspace(0, len(wav) - length, places).long().tolist()
    sums = sum(compare(restorer, wav[start : start + length]) for start in starts)
    return (sums / places).sqrt().tolist()


def main():
    """Measure and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tasks", nargs="+", choices=CORPORA, default=[*TASKS])
    parser.add_argument("--calls", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--overlap", type=float, nargs="+", default=[0.25, 0.5, 1])
    parser.add_argument("--places", type=int, default=12)
    options = parser.parse_args()
    rows = [
        [task, str(calls), f"{overlap:g}"]
        + [f"{value:.4f}" for value in measure(task, calls, overlap, options.places)]
        for task in options.tasks
        for calls in options.calls
        for overlap in options.overlap
    ]
    head = ["model", "calls", "overlap, s"]
    head += ["neighbours", "window around", "another seed", "the result itself"]
    print(markdown_table(head, rows))


if __name__ == "__main__":
    main()
