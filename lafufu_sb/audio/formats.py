"""Formats and sample formats that can be written."""

from lafufu_sb.audio.suffixes import SOUNDFILE_SUFFIXES

# Suffix to FFmpeg's container, codec, lossless codec, and whether it has pictures
CONTAINERS = {
    ".m4a": ("ipod", "aac", "alac", False),
    ".m4v": ("mp4", "aac", "alac", True),
    ".mka": ("matroska", "flac", "flac", False),
    ".mkv": ("matroska", "flac", "flac", True),
    ".mov": ("mov", "aac", "alac", True),
    ".mp4": ("mp4", "aac", "alac", True),
    ".webm": ("webm", "libopus", "libopus", True),
}
# libsndfile has no encoder for MP2 and puts half of an SD2 into a second file. The rest
# cannot hold every sample rate.
_READ_ONLY = {".mp2", ".sd2", ".htk", ".sds", ".wve", ".xi"}
WRITTEN_SUFFIXES = (
    *(s for s in SOUNDFILE_SUFFIXES if s not in _READ_ONLY),
    *CONTAINERS,
)

SUBTYPES = ("PCM_16", "PCM_24", "PCM_32", "FLOAT")  # of libsndfile
