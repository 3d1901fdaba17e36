//! Porter's suffix stripping (1980) with the extensions of NLTK's `PorterStemmer`, its default mode.
//!
//! Own code after the published algorithm and the extensions' description.

/// Words that NLTK stems by a table.
const IRREGULAR: [(&str, &str); 16] = [
    ("skies", "sky"),
    ("sky", "sky"),
    ("dying", "die"),
    ("lying", "lie"),
    ("tying", "tie"),
    ("news", "news"),
    ("innings", "inning"),
    ("inning", "inning"),
    ("outings", "outing"),
    ("outing", "outing"),
    ("cannings", "canning"),
    ("canning", "canning"),
    ("howe", "howe"),
    ("proceed", "proceed"),
    ("exceed", "exceed"),
    ("succeed", "succeed"),
];

/// Suffix and what stands for it if what is before has a measure above 0.
const STEP2: [(&str, &str); 21] = [
    ("ational", "ate"),
    ("tional", "tion"),
    ("enci", "ence"),
    ("anci", "ance"),
    ("izer", "ize"),
    ("bli", "ble"),
    ("alli", "al"),
    ("entli", "ent"),
    ("eli", "e"),
    ("ousli", "ous"),
    ("ization", "ize"),
    ("ation", "ate"),
    ("ator", "ate"),
    ("alism", "al"),
    ("iveness", "ive"),
    ("fulness", "ful"),
    ("ousness", "ous"),
    ("aliti", "al"),
    ("iviti", "ive"),
    ("biliti", "ble"),
    ("fulli", "ful"),
];

const STEP3: [(&str, &str); 7] =
    [("icate", "ic"), ("ative", ""), ("alize", "al"), ("iciti", "ic"), ("ical", "ic"), ("ful", ""), ("ness", "")];

/// Suffixes that go if what is before has a measure above 1.
const STEP4: [&str; 19] = [
    "al", "ance", "ence", "er", "ic", "able", "ible", "ant", "ement", "ment", "ent", "ion", "ou", "ism", "ate", "iti",
    "ous", "ive", "ize",
];

/// Stem of a word, in lower case.
pub fn stem(word: &str) -> String {
    let lower = word.to_lowercase();
    // A byte a letter: the algorithm only knows ASCII, and cuts or adds at the end, so other letters can stay behind
    // stand-ins and be put back by their place. Stand-ins are above ASCII, the same for the same letter.
    let letters: Vec<char> = lower.chars().collect();
    let mut others: Vec<char> = Vec::new();
    let mut bytes: Vec<u8> = Vec::with_capacity(letters.len() + 1);
    for &letter in &letters {
        bytes.push(match u8::try_from(letter).ok().filter(u8::is_ascii) {
            Some(byte) => byte,
            None => {
                let known = others.iter().position(|&other| other == letter);
                let place = known.unwrap_or_else(|| {
                    others.push(letter);
                    others.len() - 1
                });
                0x80 | place.min(0x7f) as u8
            }
        });
    }
    stem_bytes(&mut bytes);
    let restored = bytes.iter().enumerate().map(|(place, &byte)| match letters.get(place) {
        Some(&letter) if !byte.is_ascii() => letter,
        _ => char::from(byte),
    });
    restored.collect()
}

/// Stems a word of lower-case letters in its place.
pub(super) fn stem_bytes(word: &mut Vec<u8>) {
    if let Some(stem) = irregular(word) {
        word.clear();
        word.extend_from_slice(stem.as_bytes());
        return;
    }
    if word.len() <= 2 {
        return;
    }
    plural(word);
    past_and_gerund(word);
    if ends(word, "y") && word.len() > 2 && is_consonant(word, word.len() - 2) {
        replace(word, 1, "i");
    }
    double_suffixes(word);
    first_rule(word, &STEP3);
    last_suffixes(word);
    final_letters(word);
}

fn irregular(word: &[u8]) -> Option<&'static str> {
    let same = |form: &str| form.as_bytes().first() == word.first() && form.as_bytes() == word;
    IRREGULAR.iter().find(|(form, _)| same(form)).map(|(_, stem)| *stem)
}

fn ends(word: &[u8], suffix: &str) -> bool {
    // Most suffixes differ in their last letter.
    word.last() == suffix.as_bytes().last() && word.ends_with(suffix.as_bytes())
}

/// Cuts `cut` letters off the end and adds `new`.
fn replace(word: &mut Vec<u8>, cut: usize, new: &str) {
    word.truncate(word.len() - cut);
    word.extend_from_slice(new.as_bytes());
}

fn is_vowel(letter: u8) -> bool {
    matches!(letter, b'a' | b'e' | b'i' | b'o' | b'u')
}

/// A y is a consonant unless it follows one.
fn is_consonant(word: &[u8], place: usize) -> bool {
    let run = word[..=place].iter().rev().take_while(|&&letter| letter == b'y').count();
    let even = run % 2 == 0;
    match place.checked_sub(run) {
        // Nothing but y: the first is a consonant, then they alternate.
        None => !even,
        Some(before) if is_vowel(word[before]) => !even,
        Some(_) => even,
    }
}

/// How often a consonant follows a vowel, and whether there is a vowel.
fn measure(stem: &[u8]) -> (usize, bool) {
    let (mut count, mut any, mut vowel) = (0, false, false);
    for (place, &letter) in stem.iter().enumerate() {
        let now = is_vowel(letter) || (letter == b'y' && place > 0 && !vowel);
        count += usize::from(vowel && !now);
        any |= now;
        vowel = now;
    }
    (count, any)
}

fn ends_double_consonant(word: &[u8]) -> bool {
    matches!(word, [.., a, b] if a == b) && is_consonant(word, word.len() - 1)
}

/// Consonant, vowel, consonant other than w, x, y; or just a vowel and a consonant.
fn ends_short(word: &[u8]) -> bool {
    let length = word.len();
    match length {
        0 | 1 => false,
        2 => !is_consonant(word, 0) && is_consonant(word, 1),
        _ => {
            is_consonant(word, length - 3)
                && !is_consonant(word, length - 2)
                && is_consonant(word, length - 1)
                && !matches!(word[length - 1], b'w' | b'x' | b'y')
        }
    }
}

/// Step 1a.
fn plural(word: &mut Vec<u8>) {
    if ends(word, "ies") {
        replace(word, if word.len() == 4 { 1 } else { 2 }, "");
    } else if ends(word, "sses") {
        replace(word, 2, "");
    } else if ends(word, "s") && !ends(word, "ss") {
        replace(word, 1, "");
    }
}

/// Step 1b.
fn past_and_gerund(word: &mut Vec<u8>) {
    if ends(word, "ied") {
        replace(word, if word.len() == 4 { 1 } else { 2 }, "");
        return;
    }
    if ends(word, "eed") {
        if measure(&word[..word.len() - 3]).0 > 0 {
            replace(word, 1, "");
        }
        return;
    }
    let cut = if ends(word, "ed") {
        2
    } else if ends(word, "ing") {
        3
    } else {
        return;
    };
    if !measure(&word[..word.len() - cut]).1 {
        return;
    }
    replace(word, cut, "");
    if ends(word, "at") || ends(word, "bl") || ends(word, "iz") {
        word.push(b'e');
    } else if ends_double_consonant(word) {
        if !matches!(word.last(), Some(b'l' | b's' | b'z')) {
            word.pop();
        }
    } else if measure(word).0 == 1 && ends_short(word) {
        word.push(b'e');
    }
}

/// Applies the first rule whose suffix fits; whether one fitted.
fn first_rule(word: &mut Vec<u8>, rules: &[(&str, &str)]) -> bool {
    let Some((suffix, new)) = rules.iter().find(|(suffix, _)| ends(word, suffix)) else { return false };
    if measure(&word[..word.len() - suffix.len()]).0 > 0 {
        replace(word, suffix.len(), new);
    }
    true
}

/// Step 2.
fn double_suffixes(word: &mut Vec<u8>) {
    // Once alli has become al, another rule may fit.
    while ends(word, "alli") && measure(&word[..word.len() - 4]).0 > 0 {
        replace(word, 2, "");
    }
    if !first_rule(word, &STEP2) && ends(word, "logi") && measure(&word[..word.len() - 3]).0 > 0 {
        word.pop();
    }
}

/// Step 4.
fn last_suffixes(word: &mut Vec<u8>) {
    let Some(suffix) = STEP4.iter().find(|suffix| ends(word, suffix)) else { return };
    let stem = &word[..word.len() - suffix.len()];
    if measure(stem).0 > 1 && (*suffix != "ion" || matches!(stem.last(), Some(b's' | b't'))) {
        word.truncate(stem.len());
    }
}

/// Step 5.
fn final_letters(word: &mut Vec<u8>) {
    if let [stem @ .., b'e'] = word.as_slice() {
        let count = measure(stem).0;
        if count > 1 || (count == 1 && !ends_short(stem)) {
            word.pop();
        }
    }
    if ends(word, "ll") && measure(&word[..word.len() - 1]).0 > 1 {
        word.pop();
    }
}

#[cfg(test)]
mod tests {
    use super::stem;

    #[test]
    fn examples_of_the_paper_and_of_the_extensions() {
        let pairs = "caresses caress ponies poni ties tie cats cat feed feed agreed agre plastered plaster bled bled \
            motoring motor sing sing conflated conflat troubled troubl sized size hopping hop falling fall hissing hiss \
            fizzed fizz failing fail filing file happy happi enjoy enjoy relational relat conditional condit \
            rational ration digitizer digit radically radic vietnamization vietnam operator oper feudalism feudal \
            decisiveness decis hopefulness hope sensibility sensibl triplicate triplic formative form electrical electr \
            goodness good revival reviv inference infer adjustable adjust replacement replac adoption adopt \
            homologous homolog communism commun effective effect bowdlerize bowdler probate probat rate rate \
            cease ceas controlling control rolling roll died die spied spi flies fli dies die skies sky dying die \
            geology geolog theology theolog syzygy syzygi toy toy by by yyyy yyyi carefully care generically gener \
            oscillators oscil oed o";
        let words: Vec<&str> = pairs.split_whitespace().collect();
        for pair in words.chunks(2) {
            assert_eq!(stem(pair[0]), pair[1], "{}", pair[0]);
        }
    }

    #[test]
    fn letters_beyond_ascii_are_consonants() {
        assert_eq!(stem("naïvely"), "naïv");
        assert_eq!(stem("Éclairs"), "éclair");
        assert_eq!(stem("ééing"), "ééing");
    }
}
