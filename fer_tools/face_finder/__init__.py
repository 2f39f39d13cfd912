"""Faces in photographs: found, turned upright and cropped by the rule of the game's page.

BlazeFace, short range, is Apache-2.0, The MediaPipe Authors: LICENSE.weights; `weights.py` tells
what was changed.
"""
