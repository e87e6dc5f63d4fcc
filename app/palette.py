"""Colours of the seven expressions, the same in every figure and on the page."""

from collections.abc import Mapping

from model.labels import Emotion

__all__ = ["EMOTION_COLORS"]

EMOTION_COLORS: Mapping[Emotion, str] = {
    # Okabe and Ito's palette, told apart with every common colour vision deficiency
    Emotion.NEUTRAL: "#BBBBBB",
    Emotion.ANGER: "#D55E00",
    Emotion.DISGUST: "#009E73",
    Emotion.FEAR: "#CC79A7",
    Emotion.HAPPINESS: "#F0E442",
    Emotion.SADNESS: "#0072B2",
    Emotion.SURPRISE: "#56B4E9",
}
