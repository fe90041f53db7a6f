"""Compare every bit of the recorded results, on the machine that recorded them.

OMP_NUM_THREADS=1 PYTHONPATH=tests python tests/golden/bits.py [--write]

Exit status 0: all are equal. Other processors, numbers of threads and versions of torch
give other bits. ``--write`` records results and hashes.
"""

import argparse
import json
import sys
import tempfile

import numpy as np
import torch
from golden.cases import (
    HERE,
    STEP,
    TINY,
    bits,
    case_names,
    compute,
    inputs,
    tiny_folder,
)


def main():
    """Compute all cases and compare them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help="record")
    write = parser.parse_args().write
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads")
    known = {} if write else json.loads((HERE / "bits.json").read_text())
    marks, views, wavs = {}, {}, inputs()
    with tempfile.TemporaryDirectory() as temporary:
        folders = {name: tiny_folder(name, temporary) for name in TINY}
        for case in case_names():
            array = compute(case, folders, wavs)
            marks[case], views[case] = bits(array), array[:, ::STEP]
            if not write:
                same = marks[case] == known.get(case)
                print(f"{'same' if same else 'DIFFERS'} {case}", flush=True)
    if write:
        (HERE / "bits.json").write_text(json.dumps(marks, indent=1) + "\n")
        np.savez_compressed(HERE / "outputs.npz", **views)
    sys.exit(not write and marks != known)


if __name__ == "__main__":
    main()
