//! The order of the components of a shell: OpenMX's, which legacy DeepH folders keep, against m = -l..l.
//!
//! OpenMX: p = x, y, z; d = z2, x2-y2, xy, xz, yz; f = z3, xz2, yz2, z(x2-y2), xyz, x(x2-3y2), y(3x2-y2).
//! Here: real spherical harmonics, m = -l..l (docs/conventions.md). Signs agree.

/// For each m = -l..l its place in OpenMX's shell; `None` beyond f, which OpenMX does not have.
fn openmx_places(l: usize) -> Option<&'static [usize]> {
    match l {
        0 => Some(&[0]),
        1 => Some(&[1, 2, 0]),
        2 => Some(&[2, 4, 0, 3, 1]),
        3 => Some(&[6, 4, 2, 0, 1, 3, 5]),
        _ => None,
    }
}

/// For each orbital of an atom in our order its index in OpenMX's; shells keep their places.
/// `None` when a shell is beyond f.
pub fn openmx_order(shells: &[usize]) -> Option<Vec<usize>> {
    let mut order = Vec::new();
    for &l in shells {
        let start = order.len();
        order.extend(openmx_places(l)?.iter().map(|place| start + place));
    }
    Some(order)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_permutations_and_name_the_same_functions() {
        for l in 0..=3 {
            let mut places = openmx_places(l).unwrap().to_vec();
            places.sort_unstable();
            assert_eq!(places, (0..2 * l + 1).collect::<Vec<_>>());
        }
        let (openmx, ours) = (["z2", "x2-y2", "xy", "xz", "yz"], ["xy", "yz", "z2", "xz", "x2-y2"]);
        assert_eq!(openmx_places(2).unwrap().iter().map(|&i| openmx[i]).collect::<Vec<_>>(), ours);
        assert_eq!(openmx_order(&[0, 1, 0]).unwrap(), [0, 2, 3, 1, 4]);
        assert_eq!(openmx_order(&[4]), None);
    }
}
