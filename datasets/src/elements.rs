//! Chemical symbols and atomic numbers (IUPAC), and DeepH's pseudo-elements My1..My6 = 131..136.

const SYMBOLS: [&str; 118] = [
    "H", "He", "Li", "Be", "B", "C", "N", "O", "F", "Ne", "Na", "Mg", "Al", "Si", "P", "S", "Cl", "Ar", "K", "Ca",
    "Sc", "Ti", "V", "Cr", "Mn", "Fe", "Co", "Ni", "Cu", "Zn", "Ga", "Ge", "As", "Se", "Br", "Kr", "Rb", "Sr", "Y",
    "Zr", "Nb", "Mo", "Tc", "Ru", "Rh", "Pd", "Ag", "Cd", "In", "Sn", "Sb", "Te", "I", "Xe", "Cs", "Ba", "La", "Ce",
    "Pr", "Nd", "Pm", "Sm", "Eu", "Gd", "Tb", "Dy", "Ho", "Er", "Tm", "Yb", "Lu", "Hf", "Ta", "W", "Re", "Os", "Ir",
    "Pt", "Au", "Hg", "Tl", "Pb", "Bi", "Po", "At", "Rn", "Fr", "Ra", "Ac", "Th", "Pa", "U", "Np", "Pu", "Am", "Cm",
    "Bk", "Cf", "Es", "Fm", "Md", "No", "Lr", "Rf", "Db", "Sg", "Bh", "Hs", "Mt", "Ds", "Rg", "Cn", "Nh", "Fl", "Mc",
    "Lv", "Ts", "Og",
];

const PSEUDO: [&str; 6] = ["My1", "My2", "My3", "My4", "My5", "My6"];
const FIRST_PSEUDO: u32 = 131;

/// The atomic number of a symbol, case as in the periodic table; `None` for an unknown one.
pub fn atomic_number(symbol: &str) -> Option<u32> {
    let place = |table: &[&str], first: u32| {
        table.iter().position(|s| *s == symbol).and_then(|i| u32::try_from(i).ok()).map(|i| i + first)
    };
    place(&SYMBOLS, 1).or_else(|| place(&PSEUDO, FIRST_PSEUDO))
}

/// The symbol of an atomic number, 1..=118 and 131..=136; `None` outside.
pub fn symbol(number: u32) -> Option<&'static str> {
    let at =
        |table: &[&'static str], first: u32| number.checked_sub(first).and_then(|i| table.get(i as usize).copied());
    at(&SYMBOLS, 1).or_else(|| at(&PSEUDO, FIRST_PSEUDO))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn symbols_and_numbers_are_inverse() {
        for number in (1..=118).chain(131..=136) {
            assert_eq!(atomic_number(symbol(number).unwrap()), Some(number));
        }
        for (name, number) in [("C", 6), ("Mo", 42), ("Te", 52), ("Bi", 83), ("Og", 118), ("My1", 131)] {
            assert_eq!(atomic_number(name), Some(number));
        }
        assert_eq!((symbol(0), symbol(119), symbol(130), symbol(137)), (None, None, None, None));
        assert_eq!((atomic_number("c"), atomic_number("")), (None, None));
    }
}
