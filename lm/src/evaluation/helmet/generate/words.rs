//! Words that keys are made of.

pub(super) const ADJECTIVES: [&str; 80] = [
    "able", "amber", "ample", "bold", "brave", "brief", "bright", "brisk", "broad", "calm", "clean", "clear", "clever",
    "close", "cold", "cool", "crisp", "curly", "damp", "dark", "deep", "dense", "dizzy", "dry", "dull", "eager",
    "early", "easy", "even", "faint", "fair", "fancy", "fast", "fierce", "firm", "flat", "fond", "free", "fresh",
    "gentle", "giant", "glad", "golden", "grand", "gray", "green", "happy", "heavy", "hollow", "honest", "huge",
    "humble", "icy", "jolly", "keen", "kind", "large", "late", "lively", "lonely", "loud", "lucky", "mild", "modest",
    "narrow", "neat", "noble", "odd", "plain", "proud", "quick", "quiet", "rare", "red", "rough", "shy", "silent",
    "smooth", "tall", "wise",
];

pub(super) const NOUNS: [&str; 80] = [
    "acorn", "anchor", "apple", "badge", "barn", "basket", "beach", "bell", "bench", "bird", "boat", "bottle",
    "bridge", "bucket", "button", "cabin", "candle", "canoe", "castle", "cat", "chair", "cliff", "clock", "cloud",
    "coin", "comet", "crane", "desert", "dog", "door", "drum", "eagle", "engine", "farm", "feather", "fence", "field",
    "flute", "forest", "fox", "garden", "glove", "hammer", "harbor", "hat", "hill", "horse", "island", "jacket",
    "kettle", "kite", "ladder", "lake", "lamp", "leaf", "lemon", "letter", "lion", "meadow", "mirror", "moon",
    "mountain", "needle", "ocean", "orchard", "owl", "piano", "pillow", "planet", "pond", "rabbit", "river", "rocket",
    "saddle", "ship", "spoon", "star", "tiger", "train", "violin",
];
