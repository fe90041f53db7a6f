"""Training cost of each recipe: parameters, cost of a call, memory of a step.

    python benchmarks/recipes.py                             # counted on shapes
    python benchmarks/recipes.py --measure sgmse_mini_wham/score lafufu_wham/score

Memory is computed: weights, their gradients, Adam's two moments and the average, and
for each item of a batch the tensors that the backward pass needs of the forward pass.
That is a lower bound; gradients of activations and unused memory of the allocator come
on top. ``--measure`` also makes real steps of some recipes on this CPU, each in a
process of its own, and gives the peak over the memory before. Writes JSON and
Markdown.
"""

import json
import tempfile
from unittest.mock import patch

import torch
import torch.nn.functional as F
from torch._subclasses.fake_tensor import FakeTensorMode

from common import bench_parser, describe_run, publish, run_alone, significant
from lafufu_sb.evaluation.tables import markdown_table
from lafufu_sb.restoration.devices import peak_rss
from lafufu_sb.training.recipe import load_recipe
from systems import RECIPES
from timing import count_cost

NAMES = ("lafufu_wham", "lafufu_192_wham", "lafufu_256_wham", "lafufu_noskip_reverb")
NAMES += ("sgmse_wham", "sgmse_96_wham", "sgmse_64_wham", "lafufu_mini_wham")
NAMES += ("lafufu_mini_noskip_wham", "sgmse_mini_wham")
PREFIX = {"pre_enhancer": "pre_enhancer", "autoencoder": "ae", "score": "score"}
STAGES = tuple(PREFIX)
COPIES = 5  # of each trained parameter: weight, gradient, two moments, average
PRECISIONS = ("fp32", "bf16")


def load(name):
    """Objects of a recipe, with an output folder that is deleted."""
    with tempfile.TemporaryDirectory() as folder:
        return load_recipe(RECIPES / f"{name}.yaml", {"output_folder": folder})[0]


def step_loss(hparams, stage, batch):
    """Loss of a training step on noise, as the stage's Brain computes it, a scalar."""
    representation, enhance = hparams["representation"], hparams["pre_enhancer"]
    frames, bins = hparams[f"{PREFIX[stage]}_crop_frames"], hparams["spectrogram"].bins
    y, x = 0.1 * torch.randn(2, batch, 2, bins, frames)
    y, x = (s.contiguous(memory_format=torch.channels_last) for s in (y, x))
    if stage == "pre_enhancer":
        return hparams["pre_enhancer_loss"](enhance(y), x)
    if enhance is not None:
        with torch.no_grad():
            y = enhance(y)
    if stage == "autoencoder":
        wavs = 0.1 * torch.randn(batch, representation.samples(frames))
        return hparams["ae_loss"](representation(y, x), y, x, wavs, wavs)
    with torch.no_grad():
        encoded = representation.encode(y)
        target = representation.encode(x).latent.float()
    roles = hparams["restorer"].conditioning
    mean, condition, _ = roles.roles(dict.fromkeys(roles.needed, encoded))
    network = hparams["score_model"].bind(condition)
    loss = hparams["objective"](network, hparams["process"], target, mean.float())
    if hparams["score_decoded_loss"] is None:
        return loss.per_item.mean()
    decoded = representation.decode(loss.estimate, encoded.skips, encoded.size)
    # ESTOI omits silent frames, whose number no shape tells. It keeps little.
    with patch.object(hparams["score_decoded_loss"], "estoi_weight", 0.0, create=True):
        decoded_loss = hparams["score_decoded_loss"](decoded.float(), x)
    return loss.per_item.mean() + decoded_loss


def kept_bytes(hparams, stage, batch, precision):
    """Bytes that the backward pass needs of the forward pass, counted on shapes."""
    network = trained_network(hparams, stage)
    storages = {}

    def keep(tensor):
        storage = tensor.untyped_storage()
        storages[storage._cdata] = storage.nbytes()
        return tensor

    mode = FakeTensorMode(allow_non_fake_inputs=True)
    hooks = torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor)
    with mode, hooks, patch("torch.istft", _istft_of_shapes):
        fakes = [mode.from_tensor(p) for p in network.parameters()]
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            loss = step_loss(hparams, stage, batch)
        for fake in fakes:  # counted with the weights
            storages.pop(fake.untyped_storage()._cdata, None)
        total = sum(storages.values())
        del loss
    return total


def _istft_of_shapes(spectra, n_fft, hop_length, *, window, length, **options):
    """``torch.istft`` without its check of the window's sum, which needs numbers."""
    frames = torch.fft.irfft(spectra, n_fft, dim=1) * window[:, None]
    samples = n_fft + hop_length * (frames.shape[-1] - 1)
    added = F.fold(frames, (1, samples), (1, n_fft), stride=(1, hop_length))
    return added.flatten(1)[:, n_fft // 2 :][:, :length]


def trained_network(hparams, stage):
    """The network of a stage, the only one that requires gradients."""
    key = {"score": "score_model", "autoencoder": "representation"}.get(stage, stage)
    for name in ("score_model", "representation", "pre_enhancer"):
        if hparams[name] is not None:
            hparams[name].requires_grad_(name == key)
    return hparams[key]


def trained_parameters(network):
    """Number of trained values; a network that is None has none."""
    if network is None:
        return 0
    return sum(p.numel() for p in network.parameters() if p.requires_grad)


def count_recipe(name):
    """Cost of a recipe's call, and bytes of its stages: fixed and per item."""
    hparams = load(name)
    row = {"recipe": name, "cost": count_cost(hparams["restorer"]), "stages": {}}
    for stage, prefix in PREFIX.items():
        parameters = trained_parameters(trained_network(hparams, stage))
        if not parameters:
            continue
        per_item = {}
        for precision in PRECISIONS:
            one, two = (kept_bytes(hparams, stage, n, precision) for n in (1, 2))
            per_item[precision] = two - one
        row["stages"][stage] = {
            "batch": hparams[f"{prefix}_batch_size"],
            "crop_frames": hparams[f"{prefix}_crop_frames"],
            "precision": hparams["precision"],
            "fixed": 4 * COPIES * parameters,
            "per_item": per_item,
        }
    return row


def measure_step(name, stage, batch):
    """Peak of two real steps in this process, over the memory before, bytes."""
    hparams = load(name)
    network = trained_network(hparams, stage)
    before = peak_rss()
    optimiser = torch.optim.Adam(network.parameters())
    enabled = hparams["precision"] == "bf16"
    for _ in range(2):
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            loss = step_loss(hparams, stage, batch)
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
    # The weights, and as much for their average, were there before.
    return peak_rss() - before + 8 * trained_parameters(network)


def measured_rows(wanted):
    """Real steps of "recipe/stage" with the recipe's batch size, a process each."""
    for text in wanted:
        name, _, stage = text.partition("/")
        batch = load(name)[f"{PREFIX[stage]}_batch_size"]
        peak = run_alone(__file__, "--alone", name, stage, batch)
        yield {"recipe": name, "stage": stage, "batch": batch, "bytes": peak}


def gigabytes(count):
    """Bytes as GB with two significant digits."""
    return significant(count / 1e9, 2)


def write_tables(results):
    """Cost of a call, and memory of a step, as Markdown."""
    cost_rows, memory_rows = [], []
    measured = {(m["recipe"], m["stage"]): m for m in results["measured"]}
    for row in results["rows"]:
        cost, recipe = row["cost"], row["recipe"]
        sizes = [cost["autoencoder_parameters"], cost["score_parameters"]]
        macs = [cost["call_macs"], cost["encoder_macs"] + cost["decoder_macs"]]
        cells = [f"{n / 1e6:.2f}" for n in sizes] + [f"{n / 1e9:.1f}" for n in macs]
        cost_rows.append([f"`{recipe}`", *cells])
        for stage, numbers in row["stages"].items():
            real = measured.get((recipe, stage))
            memory_rows.append([f"`{recipe}`", stage, *_memory_cells(numbers, real)])
    heads = ["recipe", "autoencoder, M", "score model, M", "GMAC a call"]
    cost_table = markdown_table([*heads, "autoencoder, GMAC"], cost_rows)
    heads = ["recipe", "stage", "batch x frames", "fixed, GB"]
    heads += [f"an item, {precision}, GB" for precision in PRECISIONS]
    heads += [f"step, {precision}, GB" for precision in PRECISIONS]
    memory_table = markdown_table([*heads, "measured, GB"], memory_rows)
    run = results["run"]
    return (
        f"Parameters, and cost of a window of 2.04 s\n\n{cost_table}\n\n"
        "Memory of a training step, at least (computed: fixed and, for each item of "
        "the batch, what the backward pass needs), and measured where it says so"
        f"\n\n{memory_table}\n\n"
        f"    {run['command']}\n\ntorch {run['torch']}; measured in the recipe's "
        f"precision on {run['device']}"
    )


def _memory_cells(numbers, real):
    batch, per_item = numbers["batch"], numbers["per_item"]
    items = [per_item[precision] for precision in PRECISIONS]
    steps = [numbers["fixed"] + batch * item for item in items]
    return [
        f"{batch} x {numbers['crop_frames']}",
        *map(gigabytes, [numbers["fixed"], *items, *steps]),
        f"{gigabytes(real['bytes'])}, {numbers['precision']}" if real else "",
    ]


def main(arguments=None):
    """Count, measure where asked, or be the process that measures."""
    parser = bench_parser(__doc__, "recipes")
    parser.add_argument("--recipes", nargs="+", default=list(NAMES))
    parser.add_argument("--measure", nargs="*", default=[], help="recipe/stage, ...")
    parser.add_argument("--alone", nargs=3, help="print the peak of recipe stage batch")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    if options.alone:
        name, stage, batch = options.alone
        print(json.dumps(measure_step(name, stage, int(batch))))
        return
    results = {
        "run": describe_run(),
        "rows": [count_recipe(name) for name in options.recipes],
        "measured": list(measured_rows(options.measure)),
    }
    publish(options, results, write_tables(results))


if __name__ == "__main__":
    main()
