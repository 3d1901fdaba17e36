//! High-symmetry points and the usual path of each Bravais lattice.
//!
//! Names, places and paths are those of Setyawan and Curtarolo, Comput. Mater. Sci. 49, 299 (2010), tables 2 to 21. The
//! places are given along the reciprocal vectors of the *conventional* cell (k = x a* + y b* + z c*), which spares a
//! table of primitive cells: they come from the published ones by k_conventional = M k_primitive. C-centred monoclinic
//! and triclinic lattices, whose tables depend on ten cases of reduced angles, get the time-reversal invariant points of
//! the reduced primitive cell instead.

/// A Bravais lattice with what its table depends on: the lengths of the conventional cell in the table's order.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Bravais {
    /// cP
    Cubic,
    /// cF
    FaceCentredCubic,
    /// cI
    BodyCentredCubic,
    /// tP
    Tetragonal,
    /// tI: a, c
    BodyCentredTetragonal(f64, f64),
    /// oP
    Orthorhombic,
    /// oF: a < b < c
    FaceCentredOrthorhombic(f64, f64, f64),
    /// oI: a < b < c
    BodyCentredOrthorhombic(f64, f64, f64),
    /// oC: a < b, the face a b centred
    BaseCentredOrthorhombic(f64, f64),
    /// hP
    Hexagonal,
    /// hR in hexagonal axes (obverse); the angle between the primitive vectors, radian
    Rhombohedral(f64),
    /// mP: b <= c and the angle between them, below 90 degrees; a is the unique axis
    Monoclinic(f64, f64, f64),
    /// mC and aP, in the reduced primitive cell
    Reduced,
}

/// Named points, along the reciprocal vectors of the conventional cell.
pub type Points = Vec<(&'static str, [f64; 3])>;

impl Bravais {
    /// Points and path; `|` in the path is a jump.
    pub fn table(self) -> (Points, &'static str) {
        const H: f64 = 0.5;
        const T: f64 = 1.0 / 3.0;
        let gamma = ("GAMMA", [0.0, 0.0, 0.0]);
        match self {
            Self::Cubic => {
                (vec![gamma, ("M", [H, H, 0.0]), ("R", [H, H, H]), ("X", [0.0, H, 0.0])], "GAMMA X M GAMMA R X | M R")
            }
            Self::FaceCentredCubic => (
                vec![
                    gamma,
                    ("K", [0.75, 0.75, 0.0]),
                    ("L", [H, H, H]),
                    ("U", [0.25, 1.0, 0.25]),
                    ("W", [H, 1.0, 0.0]),
                    ("X", [0.0, 1.0, 0.0]),
                ],
                "GAMMA X W K GAMMA L U W L K | U X",
            ),
            Self::BodyCentredCubic => {
                (vec![gamma, ("H", [0.0, 1.0, 0.0]), ("P", [H, H, H]), ("N", [H, H, 0.0])], "GAMMA H N GAMMA P H | P N")
            }
            Self::Tetragonal => (
                vec![
                    gamma,
                    ("A", [H, H, H]),
                    ("M", [H, H, 0.0]),
                    ("R", [0.0, H, H]),
                    ("X", [0.0, H, 0.0]),
                    ("Z", [0.0, 0.0, H]),
                ],
                "GAMMA X M GAMMA Z R A Z | X R | M A",
            ),
            Self::BodyCentredTetragonal(a, c) if c < a => {
                let eta = (1.0 + (c / a).powi(2)) / 4.0;
                let points = vec![
                    gamma,
                    ("M", [1.0, 0.0, 0.0]),
                    ("N", [H, 0.0, H]),
                    ("P", [H, H, H]),
                    ("X", [H, H, 0.0]),
                    ("Z", [0.0, 0.0, 2.0 * eta]),
                    ("Z1", [1.0, 0.0, 1.0 - 2.0 * eta]),
                ];
                (points, "GAMMA X M GAMMA Z P N Z1 M | X P")
            }
            Self::BodyCentredTetragonal(a, c) => {
                let eta = (1.0 + (a / c).powi(2)) / 4.0;
                let zeta = (a / c).powi(2) / 2.0;
                let points = vec![
                    gamma,
                    ("N", [H, 0.0, H]),
                    ("P", [H, H, H]),
                    ("S", [2.0 * eta, 0.0, 0.0]),
                    ("S1", [1.0 - 2.0 * eta, 0.0, 1.0]),
                    ("X", [H, H, 0.0]),
                    ("Y", [H + zeta, H - zeta, 0.0]),
                    ("Y1", [H - zeta, H - zeta, 1.0]),
                    ("Z", [0.0, 0.0, 1.0]),
                ];
                (points, "GAMMA X Y S GAMMA Z S1 N P Y1 Z | X P")
            }
            Self::Orthorhombic => (
                vec![
                    gamma,
                    ("R", [H, H, H]),
                    ("S", [H, H, 0.0]),
                    ("T", [0.0, H, H]),
                    ("U", [H, 0.0, H]),
                    ("X", [H, 0.0, 0.0]),
                    ("Y", [0.0, H, 0.0]),
                    ("Z", [0.0, 0.0, H]),
                ],
                "GAMMA X S Y GAMMA Z U R T Z | Y T | U X | S R",
            ),
            Self::FaceCentredOrthorhombic(a, b, c) => face_centred_orthorhombic(a, b, c),
            Self::BodyCentredOrthorhombic(a, b, c) => {
                let (zeta, eta) = ((1.0 + (a / c).powi(2)) / 4.0, (1.0 + (b / c).powi(2)) / 4.0);
                let (delta, mu) = ((b * b - a * a) / (4.0 * c * c), (a * a + b * b) / (4.0 * c * c));
                let points = vec![
                    gamma,
                    ("L", [H + mu - delta, H - mu - delta, 0.0]),
                    ("L1", [H - mu + delta, H + mu + delta, 0.0]),
                    ("L2", [H - mu + delta, H - mu - delta, 1.0]),
                    ("R", [H, 0.0, H]),
                    ("S", [0.0, H, H]),
                    ("T", [H, H, 0.0]),
                    ("W", [H, H, H]),
                    ("X", [2.0 * zeta, 0.0, 0.0]),
                    ("X1", [1.0 - 2.0 * zeta, 0.0, 1.0]),
                    ("Y", [0.0, 2.0 * eta, 0.0]),
                    ("Y1", [0.0, 1.0 - 2.0 * eta, 1.0]),
                    ("Z", [0.0, 0.0, 1.0]),
                ];
                (points, "GAMMA X L T W R X1 Z GAMMA Y S W | L1 Y | Y1 Z")
            }
            Self::BaseCentredOrthorhombic(a, b) => {
                let zeta = (1.0 + (a / b).powi(2)) / 4.0;
                let points = vec![
                    gamma,
                    ("A", [2.0 * zeta, 0.0, H]),
                    ("A1", [1.0 - 2.0 * zeta, 1.0, H]),
                    ("R", [H, H, H]),
                    ("S", [H, H, 0.0]),
                    ("T", [0.0, 1.0, H]),
                    ("X", [2.0 * zeta, 0.0, 0.0]),
                    ("X1", [1.0 - 2.0 * zeta, 1.0, 0.0]),
                    ("Y", [0.0, 1.0, 0.0]),
                    ("Z", [0.0, 0.0, H]),
                ];
                (points, "GAMMA X S R A Z GAMMA Y X1 A1 T Y | Z T")
            }
            Self::Hexagonal => (
                vec![
                    gamma,
                    ("A", [0.0, 0.0, H]),
                    ("H", [T, T, H]),
                    ("K", [T, T, 0.0]),
                    ("L", [H, 0.0, H]),
                    ("M", [H, 0.0, 0.0]),
                ],
                "GAMMA M K GAMMA A L H A | L M | K H",
            ),
            Self::Rhombohedral(alpha) => rhombohedral(alpha),
            Self::Monoclinic(b, c, alpha) => {
                let eta = (1.0 - b * alpha.cos() / c) / (2.0 * alpha.sin().powi(2));
                let nu = H - eta * c * alpha.cos() / b;
                let points = vec![
                    gamma,
                    ("A", [H, H, 0.0]),
                    ("C", [0.0, H, H]),
                    ("D", [H, 0.0, H]),
                    ("E", [H, H, H]),
                    ("H", [0.0, eta, 1.0 - nu]),
                    ("H1", [0.0, 1.0 - eta, nu]),
                    ("M", [H, eta, 1.0 - nu]),
                    ("M1", [H, 1.0 - eta, nu]),
                    ("X", [0.0, H, 0.0]),
                    ("Y", [0.0, 0.0, H]),
                    ("Z", [H, 0.0, 0.0]),
                ];
                (points, "GAMMA Y H C E M1 A X H1 | M D Z | Y D")
            }
            Self::Reduced => (
                vec![
                    gamma,
                    ("L", [H, H, 0.0]),
                    ("M", [0.0, H, H]),
                    ("N", [H, 0.0, H]),
                    ("R", [H, H, H]),
                    ("X", [H, 0.0, 0.0]),
                    ("Y", [0.0, H, 0.0]),
                    ("Z", [0.0, 0.0, H]),
                ],
                "X GAMMA Y | L GAMMA Z | N GAMMA M | R GAMMA",
            ),
        }
    }
}

fn face_centred_orthorhombic(a: f64, b: f64, c: f64) -> (Points, &'static str) {
    const H: f64 = 0.5;
    let ratio = |x: f64, y: f64| (x / y).powi(2);
    let common = [("GAMMA", [0.0, 0.0, 0.0]), ("L", [H, H, H]), ("Y", [0.0, 1.0, 0.0]), ("Z", [0.0, 0.0, 1.0])];
    let mut points = common.to_vec();
    let eta = (1.0 + ratio(a, b) - ratio(a, c)) / 4.0;
    if ratio(1.0, a) >= ratio(1.0, b) + ratio(1.0, c) {
        // Here the table's zeta is the other case's eta, and its eta is `long`.
        let long = (1.0 + ratio(a, b) + ratio(a, c)) / 4.0;
        points.extend([
            ("A", [2.0 * eta, 0.0, 1.0]),
            ("A1", [1.0 - 2.0 * eta, 1.0, 0.0]),
            ("T", [0.0, 1.0, 1.0]),
            ("X", [2.0 * long, 0.0, 0.0]),
            ("X1", [1.0 - 2.0 * long, 1.0, 1.0]),
        ]);
        (points, "GAMMA Y T Z GAMMA X A1 Y | T X1 | X A Z | L GAMMA")
    } else {
        let phi = (1.0 + ratio(c, b) - ratio(c, a)) / 4.0;
        let delta = (1.0 + ratio(b, a) - ratio(b, c)) / 4.0;
        points.extend([
            ("C", [1.0 - 2.0 * eta, 1.0, 0.0]),
            ("C1", [2.0 * eta, 0.0, 1.0]),
            ("D", [1.0, 1.0 - 2.0 * delta, 0.0]),
            ("D1", [0.0, 2.0 * delta, 1.0]),
            ("H", [0.0, 1.0, 1.0 - 2.0 * phi]),
            ("H1", [1.0, 0.0, 2.0 * phi]),
            ("X", [1.0, 0.0, 0.0]),
        ]);
        (points, "GAMMA Y C D X GAMMA Z D1 H C | C1 Z | X H1 | H Y | L GAMMA")
    }
}

fn rhombohedral(alpha: f64) -> (Points, &'static str) {
    const H: f64 = 0.5;
    let (table, path): (Points, _) = if alpha.cos() > 0.0 {
        let eta = (1.0 + 4.0 * alpha.cos()) / (2.0 + 4.0 * alpha.cos());
        let nu = 0.75 - eta / 2.0;
        let table = vec![
            ("GAMMA", [0.0, 0.0, 0.0]),
            ("B", [eta, H, 1.0 - eta]),
            ("B1", [H, 1.0 - eta, eta - 1.0]),
            ("F", [H, H, 0.0]),
            ("L", [H, 0.0, 0.0]),
            ("L1", [0.0, 0.0, -H]),
            ("P", [eta, nu, nu]),
            ("P1", [1.0 - nu, 1.0 - nu, 1.0 - eta]),
            ("P2", [nu, nu, eta - 1.0]),
            ("Q", [1.0 - nu, nu, 0.0]),
            ("X", [nu, 0.0, -nu]),
            ("Z", [H, H, H]),
        ];
        (table, "GAMMA L B1 | B Z GAMMA X | Q F P1 Z | L P")
    } else {
        let eta = 1.0 / (2.0 * (alpha / 2.0).tan().powi(2));
        let nu = 0.75 - eta / 2.0;
        let table = vec![
            ("GAMMA", [0.0, 0.0, 0.0]),
            ("F", [H, -H, 0.0]),
            ("L", [H, 0.0, 0.0]),
            ("P", [1.0 - nu, -nu, 1.0 - nu]),
            ("P1", [nu, nu - 1.0, nu - 1.0]),
            ("Q", [eta, eta, eta]),
            ("Q1", [1.0 - eta, -eta, -eta]),
            ("Z", [H, -H, H]),
        ];
        (table, "GAMMA P Z Q GAMMA F P1 Q1 L Z")
    };
    // Hexagonal a = a1 - a2, b = a2 - a3, c = a1 + a2 + a3 of the primitive vectors.
    let hexagonal = |[x, y, z]: [f64; 3]| [x - y, y - z, x + y + z];
    (table.into_iter().map(|(name, k)| (name, hexagonal(k))).collect(), path)
}
