"""What the face does: facial actions for neutral, happy and surprise.

The actions are the 52 of ARKit, modelled by Mika Suominen's Face Units; intensity 1 is the full action. Which
actions make up which expression follows the Facial Action Coding System (Ekman and Friesen, 1978):
happiness is AU6+12 (cheek raiser, lip corner puller) with or without parted lips (AU25, 26), surprise
AU1+2+5+26 (inner and outer brow raiser, upper lid raiser, jaw drop). Ranges and frequencies were chosen so
that the renders cover what photographs of the three classes show.
"""

from dataclasses import dataclass

from faces.identity import Identity
from faces.maths import Random
from fer_lib.files import UsageError

CLASSES = ("neutral", "happy", "surprise")
_PAIRED = {
    *(
        "browDown",
        "browOuterUp",
        "cheekSquint",
        "eyeBlink",
        "eyeSquint",
        "eyeWide",
        "mouthDimple",
        "mouthFrown",
    ),
    *("mouthLowerDown", "mouthPress", "mouthSmile", "mouthStretch", "mouthUpperUp", "noseSneer"),
}


@dataclass
class Expression:
    """Facial actions of one image.

    Attributes
    ----------
    label : str
        One of `CLASSES`.
    intensity : float
        0..1: of the class's expression; for neutral, of the small movements.
    weights : dict of str to float
        Targets of the head.
    gaze : tuple of float
        Yaw and pitch of the eyes against the head, radians.
    """

    label: str
    intensity: float
    weights: dict[str, float]
    gaze: tuple[float, float]

    def strength(self, action: str) -> float:
        """Intensity of an action; mean of left and right for a paired one."""
        if action in _PAIRED:
            return 0.5 * (self.strength(action + "Left") + self.strength(action + "Right"))
        return self.weights.get("action/" + action, 0.0)


def sample_expression(random: Random, label: str, person: Identity) -> Expression:
    """Sample the facial actions of a class.

    Raises
    ------
    UsageError
        If the class is unknown.
    """
    weights: dict[str, float] = {}
    one_sided = 0.35 if random.chance(0.12) else 0.1

    def act(action: str, value: float, asymmetry: float = 1.0) -> None:
        for name in (action + "Left", action + "Right") if action in _PAIRED else (action,):
            noise = random.normal(0, one_sided * asymmetry) if action in _PAIRED else 0.0
            weights["action/" + name] = weights.get("action/" + name, 0.0) + max(value * (1 + noise), 0.0)

    def sometimes(probability: float, action: str, low: float, high: float, asymmetry: float = 1.0) -> None:
        value = random.uniform(low, high)
        if random.chance(probability):
            act(action, value, asymmetry)

    def lift_brows(value: float) -> None:
        """Raise the whole brow; MakeHuman's unit lifts it higher than the two ARKit actions."""
        style = random.pick(dict.fromkeys(("african", "asian", "caucasian"), 1))
        for side in ("left", "right"):
            name = f"unit/{style}/eyebrows-{side}-up"
            weights[name] = weights.get(name, 0.0) + value * (1 + random.normal(0, 0.1))

    # Small movements every living face has, whatever the class.
    for action in ("jawLeft", "jawRight", "mouthLeft", "mouthRight", "jawForward"):
        sometimes(0.2, action, 0.0, 0.14)
    for action in ("mouthDimple", "mouthShrugUpper", "mouthPucker", "mouthStretch", "noseSneer", "cheekPuff"):
        sometimes(0.15, action, 0.0, 0.2)

    uniform, chance = random.uniform, random.chance
    if label == "neutral":
        intensity = uniform()
        for action in ("mouthPress", "mouthShrugLower", "mouthRollLower", "mouthRollUpper", "mouthPucker"):
            sometimes(0.3, action, 0.0, 0.45 * intensity)
        sometimes(0.35, "mouthFrown", 0.0, 0.5 * intensity)
        sometimes(0.3, "mouthSmile", 0.0, 0.22 * intensity, 2.0)
        sometimes(0.4, "browDown", 0.0, 0.8 * intensity)
        sometimes(0.3, "browInnerUp", 0.0, 0.6 * intensity)
        sometimes(0.35, "browOuterUp", 0.0, 0.7 * intensity, 1.5)
        sometimes(0.4, "eyeSquint", 0.0, 0.8 * intensity)
        sometimes(0.15, "mouthFunnel", 0.0, 0.3 * intensity)
        if chance(0.18):  # parted lips
            act("jawOpen", uniform(0.02, 0.06 + 0.16 * intensity))
            sometimes(0.4, "mouthUpperUp", 0.0, 0.3)
            sometimes(0.3, "mouthLowerDown", 0.0, 0.3)
        lids = random.pick({"rest": 0.42, "low": 0.28, "wide": 0.23, "closed": 0.07})
        if lids == "low":
            act("eyeBlink", uniform(0.05, 0.45), 0.4)
        elif lids == "wide":
            act("eyeWide", uniform(0.1, 0.7), 0.4)
        elif lids == "closed":
            act("eyeBlink", uniform(0.6, 1.0), 0.3)
    elif label == "happy":
        intensity = uniform(0.0, 1.0)
        kind = random.pick({"closed": 0.3 - 0.26 * person.smile_teeth, "teeth": 0.62, "laugh": 0.22})
        smile = {
            "closed": uniform(0.35, 0.9),
            "teeth": 0.6 + 0.55 * intensity,
            "laugh": 0.6 + 0.55 * intensity,
        }[kind]
        act("mouthSmile", smile)
        act("cheekSquint", smile * uniform(0.3, 1.1))
        sometimes(0.75, "eyeSquint", 0.1, 0.9)
        sometimes(0.5, "mouthDimple", 0.0, 0.5)
        sometimes(0.6, "mouthStretch", 0.0, 0.7)
        if kind == "closed":
            sometimes(0.5, "mouthPress", 0.0, 0.4)
            sometimes(0.4, "jawOpen", 0.0, 0.05)
        elif kind == "teeth":
            act("mouthUpperUp", uniform(0.45, 1.15), 0.6)
            act("mouthLowerDown", uniform(0.35, 1.15), 0.6)
            act("jawOpen", uniform(0.04, 0.26))
        else:
            act("mouthUpperUp", uniform(0.45, 1.1), 0.6)
            act("mouthLowerDown", uniform(0.3, 1.0), 0.6)
            act("jawOpen", uniform(0.25, 0.8))
            sometimes(0.4, "noseSneer", 0.0, 0.5)
        sometimes(0.25, "browOuterUp", 0.0, 0.6)
        sometimes(0.25, "browInnerUp", 0.0, 0.6)
        sometimes(0.15, "browDown", 0.0, 0.4)
        lids = random.pick({"rest": 0.62, "low": 0.12, "wide": 0.14, "closed": 0.12})
        if lids == "low":
            act("eyeBlink", uniform(0.1, 0.4), 0.3)
        elif lids == "wide":
            act("eyeWide", uniform(0.1, 0.6), 0.4)
        elif lids == "closed":
            act("eyeBlink", uniform(0.5, 1.0), 0.3)
    elif label == "surprise":
        intensity = uniform(0.0, 1.0)
        raised = (0.6 + 0.8 * intensity) * uniform(0.85, 1.25)
        act("browInnerUp", raised * uniform(0.7, 1.1))
        act("browOuterUp", raised * uniform(0.6, 1.1), 1.5)
        if chance(0.6):
            lift_brows(raised * uniform(0.0, 0.7))
        act("eyeWide", (0.5 + 0.8 * intensity) * uniform(0.6, 1.3), 0.5)
        kind = random.pick({"round": 0.45, "drop": 0.34, "delighted": 0.12, "closed": 0.09})
        if kind == "round":
            act("jawOpen", uniform(0.22, 1.0))
            act("mouthFunnel", uniform(0.1, 0.85))
            sometimes(0.5, "mouthPucker", 0.0, 0.5)
        elif kind == "drop":
            act("jawOpen", uniform(0.5, 1.35))
            sometimes(0.4, "mouthStretch", 0.0, 0.6)
            sometimes(0.4, "mouthLowerDown", 0.0, 0.5)
            sometimes(0.3, "mouthUpperUp", 0.0, 0.4)
            sometimes(0.2, "mouthFrown", 0.0, 0.4)
        elif kind == "delighted":
            act("jawOpen", uniform(0.35, 1.0))
            act("mouthSmile", uniform(0.15, 0.5))
            act("mouthUpperUp", uniform(0.1, 0.6))
        else:
            sometimes(0.7, "jawOpen", 0.0, 0.15)
            sometimes(0.4, "mouthPucker", 0.0, 0.5)
            sometimes(0.3, "mouthFrown", 0.0, 0.4)
            sometimes(0.3, "mouthPress", 0.0, 0.4)
    else:
        raise UsageError(f"unknown class '{label}'; the faces show {', '.join(CLASSES)}")
    gaze = (random.normal(0, 0.16), random.normal(-0.02, 0.09))
    return Expression(label, intensity, weights, gaze)
