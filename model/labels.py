"""The seven basic expressions in the order of the logits, which is Aff-Wild2's (EXPR_Set annotation header)."""

from enum import StrEnum


class Emotion(StrEnum):
    """One of the seven classes; iteration order is the order of logits, probabilities and confusion matrices."""

    NEUTRAL = "neutral"
    ANGER = "anger"
    DISGUST = "disgust"
    FEAR = "fear"
    HAPPINESS = "happiness"
    SADNESS = "sadness"
    SURPRISE = "surprise"


EMOTIONS: tuple[Emotion, ...] = tuple(Emotion)
CLIP_FRAMES = 8
"""Frames in one clip (paper, section III): the length of the BLSTM and of a window on the global frame grid."""
