"""Peak memory of one system, alone in its process. ``rtf.py`` runs it on a CPU.

    python benchmarks/peak.py lafufu128 bf16 --window-frames 256

Prints {"bytes": peak, "empty_process": what it had before the system was built}.
"""

import argparse
import json

import torch

from common import peak_rss
from systems import find_system
from timing import measure_memory


def main():
    """Build, restore once, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("system")
    parser.add_argument("way", help="published, fp32 or bf16")
    parser.add_argument("--window-frames", type=int, default=256)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    empty = peak_rss()
    system = find_system(options.system)
    restorer = system.build(options.way, options.window_frames)
    print(json.dumps({"bytes": measure_memory(restorer), "empty_process": empty}))


if __name__ == "__main__":
    main()
