"""The effect of cutting into windows, beside the effect of another seed.

    python benchmarks/seams.py                         # both shipped models
    python benchmarks/seams.py --calls 1 4 50 --places 6

At many places of the embedded test recordings the joint result of two windows is
compared, where they overlap, with that of either alone (its neighbours), and with that
of one window around the seam, which has context on both sides. The noise is the same at
the same place; another seed changes it.
"""

import torch

from common import bench_parser, with_sampler
from lafufu_sb.cli.evaluate import find_pairs
from lafufu_sb.corpora.mini_corpus import mini_corpus_folder
from lafufu_sb.evaluation.clips import read_signal
from lafufu_sb.evaluation.tables import markdown_table
from lafufu_sb.inference.loading import ModelChoice
from lafufu_sb.restoration.levels import levelled
from lafufu_sb.restoration.streaming import TensorSignal

CORPORA = {"denoise_small": "EARS-WHAM", "dereverb": "EARS-Reverb"}


def compare(restorer, piece):
    """Squared differences where two windows overlap, and the power there.

    ``piece`` is (window + stride,). Returns (4,) means over the samples of the overlap:
    of joint result and neighbours, of joint result and the window around, of that and
    another seed, power.
    """
    plan, method = restorer.plan, restorer.window_method()
    (signal,) = levelled([TensorSignal(piece)], plan, restorer.sample_rate)
    level = signal.levels[0]

    def shared(start, seed=0):
        """The overlap, as the window that begins at ``start`` restores it."""
        window = signal.read(start, start + plan.window)[None] / level
        noise = restorer.noise([seed], [start])
        restored = method.restore(window, noise)[0] * level
        return restored[plan.stride - start :][: plan.overlap]

    joined = restorer.restore(piece[None])[0]
    joined = joined[plan.stride : plan.window]
    around = plan.stride // 2 // plan.overlap * plan.overlap
    reference, other = shared(around), shared(around, seed=1)
    neighbours = torch.cat([joined - shared(0), joined - shared(plan.stride)])
    errors = neighbours, joined - reference, other - reference, reference
    return torch.stack([e.square().mean() for e in errors])


def measure(task, calls, overlap, places):
    """RMS of neighbours, seam, other seed and result, over all places."""
    settings = {} if overlap is None else {"overlap": overlap}
    model = ModelChoice(task, settings=settings).load()
    restorer = with_sampler(model.restorer, "bridge_sde", num_steps=calls)
    pairs = find_pairs(mini_corpus_folder(CORPORA[task]))
    wav = torch.cat([read_signal(path, model.sample_rate) for _, path, _ in pairs])
    length = restorer.plan.window + restorer.plan.stride
    starts = torch.linspace(0, len(wav) - length, places).long().tolist()
    sums = sum(compare(restorer, wav[start : start + length]) for start in starts)
    return (sums / places).sqrt().tolist()


def main(arguments=None):
    """Measure and print a table."""
    parser = bench_parser(__doc__)
    parser.add_argument("--tasks", nargs="+", choices=CORPORA, default=[*CORPORA])
    parser.add_argument("--calls", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--overlap", type=float, nargs="+", default=[0.25, 0.5, 1])
    parser.add_argument("--places", type=int, default=12)
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    rows = [
        [task, str(calls), f"{overlap:g}"]
        + [f"{value:.4f}" for value in measure(task, calls, overlap, options.places)]
        for task in options.tasks
        for calls in options.calls
        for overlap in options.overlap
    ]
    heads = ["model", "calls", "overlap, s"]
    heads += ["neighbours", "window around", "another seed", "the result itself"]
    print(markdown_table(heads, rows))


if __name__ == "__main__":
    main()
