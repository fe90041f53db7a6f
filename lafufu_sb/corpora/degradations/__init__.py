"""Degradations of clean speech: a base class, noise and rooms."""

from lafufu_sb.corpora.degradations.base import Degradation, SpeechFacts
from lafufu_sb.corpora.degradations.noise import Noise
from lafufu_sb.corpora.degradations.room import Room

__all__ = ["Degradation", "Noise", "Room", "SpeechFacts"]
