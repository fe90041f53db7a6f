"""Package metadata; tool settings are in pyproject.toml, pins in constraints.txt."""

from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
VERSION = next(
    line.split('"')[1]
    for line in (HERE / "lafufu_sb" / "__init__.py").read_text().splitlines()
    if line.startswith("__version__")
)
METRICS = [
    "pesq>=0.0.4",
    "pystoi>=0.4",
    "soxr>=0.3",
    # speechmos 0.0.1.1 names none of what it imports
    "speechmos>=0.0.1.1",
    "librosa>=0.10",
    "onnxruntime>=1.17",
    "requests>=2.28",
]
ASR = ["faster-whisper>=1.0"]
ROOMS = ["pyroomacoustics>=0.8"]
EARS = ["h5py>=3.8", "soxr>=0.3"]
ONNX = ["onnx>=1.16", "onnxscript>=0.3", "onnxruntime>=1.20"]
LHOTSE = ["lhotse>=1.24"]
# Losses of the small recipes (of speechmos only the weights are read, with onnx) and,
# with transformers, the one for recognisers
TRAIN = [
    "torch-pesq>=0.1.2",
    "torch-stoi>=0.2.1",
    "speechmos>=0.0.1.1",
    "onnx>=1.16",
    "transformers>=4.46",
]
RAY = ["ray[data]>=2.30"]
TESTS = [
    "pytest>=8",
    "pytest-xdist>=3.5",
    "ruff==0.12.4",
    "yamllint>=1.35",
    "tensorboard>=2.14",
]

setup(
    name="lafufu_sb",
    version=VERSION,
    description="Restore 48-kHz speech by latent diffusion: LAFUFU for SpeechBrain",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.10",
    # The sub-package of model folders lives at the top level of the repository.
    packages=[
        *find_packages(include=["lafufu_sb*"]),
        "lafufu_sb.pretrained_interfaces",
    ],
    package_dir={"lafufu_sb.pretrained_interfaces": "pretrained_interfaces"},
    package_data={
        "lafufu_sb.corpora.mini_corpus": ["README.md", "EARS-*/*/*/*/*.wav"],
        "lafufu_sb.pretrained_interfaces": ["*/*.yaml", "*/*.ckpt", "*/README.md"],
    },
    install_requires=[
        # Checkpoints are read with weights_only, which came with torch 2.6; speechbrain
        # 1.1.2 itself asks for 2.7.1.
        "torch>=2.7.1",
        "torchaudio>=2.7.1",
        "speechbrain>=1.1.2,<1.2",
        "hyperpyyaml>=1.2.2",
        "ruamel.yaml>=0.17.28",
        "numpy",
        "scipy",
        "soundfile>=0.12",
        "pyloudnorm>=0.1",
        "sentencepiece>=0.1.99",
        "matplotlib>=3.7",
        "joblib>=1.2",
        "tqdm>=4.42",
    ],
    extras_require={
        "metrics": METRICS,
        "asr": ASR,
        "rooms": ROOMS,
        "ears": EARS,
        "onnx": ONNX,
        "lhotse": LHOTSE,
        "ray": RAY,
        "train": TRAIN,
        "tests": METRICS + TRAIN + ROOMS + EARS + ONNX + LHOTSE + TESTS,
    },
    entry_points={"console_scripts": ["lafufu = lafufu_sb.cli.main:main"]},
)
