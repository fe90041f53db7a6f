"""A tiny run of the recipe, trained once, for the tests that need a model."""

from dataclasses import replace

import pytest
import torch
from runs import train, write_tiny_recipe


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory):
    """Run folder of a trained tiny model."""
    folder = tmp_path_factory.mktemp("tiny")
    recipe = write_tiny_recipe(folder / "tiny.yaml", folder / "run")
    process = train(recipe)
    assert process.returncode == 0, process.stderr[-3000:]
    return folder / "run"


@pytest.fixture(scope="session")
def tiny_model(tiny_run):
    """Model folder of a trained tiny model."""
    return tiny_run / "model"


@pytest.fixture
def tiny_sgmse():
    """SGMSE+ of width 8, in 64-frame windows fast enough for a test."""
    from systems import sgmse

    text = sgmse(64).text.replace("channels: 64", "channels: 8")
    return replace(sgmse(64), key="sgmse8", text=text)


@pytest.fixture
def mini():
    """A shipped model, whose grid takes windows of 32 frames."""
    from systems import shipped

    return shipped("denoise_small")


@pytest.fixture(scope="session")
def unchanging():
    """``EnhanceLatent`` of a network that leaves everything as it is."""
    from small import small_model

    return small_model(windows_per_batch=32)


@pytest.fixture(scope="session")
def tiny_whisper(tmp_path_factory):
    """Folder of a Whisper that knows nothing and takes up to 4 s."""
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    layers = {f"{side}_layers": 2 for side in ("encoder", "decoder")}
    heads = {f"{side}_attention_heads": 2 for side in ("encoder", "decoder")}
    config = transformers.WhisperConfig(
        d_model=16, vocab_size=60000, max_source_positions=200, **layers, **heads
    )
    folder = str(tmp_path_factory.mktemp("whisper"))
    transformers.WhisperModel(config).save_pretrained(folder)
    transformers.WhisperFeatureExtractor().save_pretrained(folder)
    return folder
