//! What a check found, on one screen, and the tables of all screens.

use super::check::Checked;
use crate::datasets::deeph::validate::{Measured, Problem, Severity};
use crate::physics::check::structure::point;
use crate::physics::check::{Copies, Report};

/// Lines of problems on the screen; the JSON has all.
const MOST_PROBLEMS: usize = 15;

impl Checked {
    /// A table of the worst numbers and where they are, the broken rules, and the first problems.
    pub fn screen(&self) -> String {
        let plural = if self.structures == 1 { "" } else { "s" };
        let verdict = if self.ok { "ok" } else { "NOT ok" };
        let mut text = format!("{} structure{plural}: {verdict}\n\n", self.structures);
        text += &table(&self.worst());
        if !self.rules.is_empty() {
            let head = ["rule", "errors", "warnings"].map(String::from).to_vec();
            let rows = self
                .rules
                .iter()
                .map(|(rule, count)| vec![rule.to_string(), count.errors.to_string(), count.warnings.to_string()]);
            text += &format!("\n{}", table(&[head].into_iter().chain(rows).collect::<Vec<_>>()));
        }
        if let Some(sets) = &self.equivariance {
            text += &format!("\n{}", equivariance(sets));
        }
        if !self.problems.is_empty() {
            text.push('\n');
        }
        // Errors first: warnings must not push them off the screen.
        let mut problems: Vec<&Problem> = self.problems.iter().collect();
        problems.sort_by_key(|problem| problem.severity == Severity::Warning);
        for problem in problems.iter().take(MOST_PROBLEMS) {
            let kind = if problem.severity == Severity::Error { "error" } else { "warning" };
            text += &format!("{kind}: {}: {} [{}]\n", problem.structure, problem.message, problem.rule);
        }
        if problems.len() > MOST_PROBLEMS {
            text += &format!("... and {} more (--json has all)\n", problems.len() - MOST_PROBLEMS);
        }
        text
    }

    /// Each number at its worst, and its structure.
    fn worst(&self) -> Vec<Vec<String>> {
        let mut rows = vec![["", "worst", "structure", "where"].map(String::from).to_vec()];
        // Where nothing is wrong, nobody is named; where nothing was measured, no number.
        let mut row = |what: &str, value: Option<(String, &Report, String)>, measured: bool| {
            rows.push(match value {
                Some((value, report, place)) => vec![what.into(), value, report.structure.clone(), place],
                None => vec![what.into(), if measured { "0" } else { "-" }.into()],
            });
        };
        let pair = |m: &Measured| m.hermiticity_pair.map_or(String::new(), |pair| format!("pair {pair:?}"));
        for (what, unit, of) in [
            ("hermiticity of H", " eV", of_hamiltonian as fn(&Report) -> Option<&Measured>),
            ("hermiticity of S", "", of_overlap),
        ] {
            let worst = self.most(|report| of(report).map(|m| m.hermiticity));
            let some = worst.filter(|(value, _)| *value != 0.0);
            let place = |(value, report)| Some((format!("{value:.1e}{unit}"), report, pair(of(report)?)));
            row(what, some.and_then(place), worst.is_some());
        }
        let mut count = |what: &str, of: &dyn Fn(&Report) -> Option<usize>| {
            let most = self.most(|report| of(report).map(|n| n as f64));
            let total: usize = self.reports.iter().filter_map(of).sum();
            let some = most.filter(|_| total > 0);
            row(what, some.map(|(n, report)| (n.to_string(), report, format!("{total} in all"))), most.is_some());
        };
        let lonely = |report: &Report| {
            let both = [&report.hamiltonian, &report.overlap].into_iter().flatten();
            both.map(|m| m.without_reverse).reduce(|a, b| a + b)
        };
        count("pairs without reverse", &lonely);
        count("pairs of H outside S", &|report| report.pairs_outside_overlap);
        let least = self.most(|report| report.smallest_overlap.map(|s| -s.eigenvalue));
        row(
            "eigenvalue of S(k)",
            least.and_then(|(value, report)| {
                let s = report.smallest_overlap?;
                let [a, b, c] = s.mesh;
                Some((format!("{:.3e}", -value), report, format!("k = {} of {a} x {b} x {c}", point(s.k))))
            }),
            false,
        );
        let nearest = self.most(|report| report.shortest_distance.map(|d| -d));
        row(
            "shortest distance",
            nearest.and_then(|(value, report)| {
                let [first, second] = report.nearest_atoms?;
                Some((format!("{:.4} A", -value), report, format!("atoms {first} and {second}")))
            }),
            false,
        );
        rows
    }

    /// The report with the largest value, the first of equal ones; NaN is the largest.
    fn most(&self, value: impl Fn(&Report) -> Option<f64>) -> Option<(f64, &Report)> {
        let larger = |a: (f64, _), b: (f64, _)| if b.0 > a.0 || (b.0.is_nan() && !a.0.is_nan()) { b } else { a };
        self.reports.iter().filter_map(|report| Some((value(report)?, report))).reduce(larger)
    }
}

fn of_hamiltonian(report: &Report) -> Option<&Measured> {
    report.hamiltonian.as_ref()
}

fn of_overlap(report: &Report) -> Option<&Measured> {
    report.overlap.as_ref()
}

fn equivariance(sets: &[Copies]) -> String {
    let head = ["rotated copies of", "copies", "mean |H| eV", "RMSE eV", "gauge fixed", "max eV", "RMSE of S"];
    let number = |x: Option<f64>| x.map_or("-".into(), |x| format!("{x:.3e}"));
    let row = |set: &Copies| {
        vec![
            set.structures.first().cloned().unwrap_or_default(),
            (set.structures.len() - 1).to_string(),
            format!("{:.6}", set.mean_h_ev),
            number(Some(set.rmse_ev)),
            number(set.rmse_gauge_fixed_ev),
            number(Some(set.max_ev)),
            number(set.rmse_overlap),
        ]
    };
    let mut rows = vec![head.map(String::from).to_vec()];
    rows.extend(sets.iter().take(MOST_PROBLEMS).map(row));
    let more = sets.len().saturating_sub(MOST_PROBLEMS);
    table(&rows) + &if more > 0 { format!("... and {more} more sets\n") } else { String::new() }
}

/// Rows of columns: the first and texts to the left, numbers to the right, two blanks between.
pub(crate) fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let cell = |row: &Vec<String>, c: usize| row.get(c).cloned().unwrap_or_default();
    let width = |c: usize| rows.iter().map(|row| cell(row, c).chars().count()).max().unwrap_or(0);
    let numeric = |c: usize| {
        let starts = |text: String| text.is_empty() || text == "-" || text.starts_with(|x: char| x.is_ascii_digit());
        c > 0 && rows.iter().skip(1).all(|row| starts(cell(row, c).trim_start_matches('-').into()))
    };
    let layout: Vec<(usize, bool)> = (0..columns).map(|c| (width(c), numeric(c))).collect();
    let mut text = String::new();
    for row in rows {
        let line = layout.iter().enumerate().map(|(c, &(width, numeric))| match numeric {
            true => format!("{:>width$}", cell(row, c)),
            false => format!("{:<width$}", cell(row, c)),
        });
        text += line.collect::<Vec<_>>().join("  ").trim_end();
        text.push('\n');
    }
    text
}
