//! The tables of a comparison: CSV for programs, one screen for a person.

use std::io::Write;
use std::path::{Path, PathBuf};

use crate::datasets::files;
use crate::physics::Result;
use crate::physics::comparison::report::{Extreme, MatrixErrors, ParityElement, StructureError};
use crate::physics::comparison::sums::Figures;
use crate::physics::comparison::{Comparison, SpectrumSummary, StructureSpectrum};

use super::Report;

/// Lines of a list on the screen; the files have all.
const MOST_LINES: usize = 6;

const FIGURES: &str = "elements,mean_abs_mev,mae_mev,rmse_mev,relative,max_mev,mae_gauge_fixed_mev,\
    rmse_gauge_fixed_mev,relative_gauge_fixed,max_gauge_fixed_mev";

/// Columns of [`FIGURES`]; empty where there is none.
fn figures(f: &Figures) -> String {
    let some = |value: Option<f64>| value.map_or(String::new(), |value| value.to_string());
    let fixed = [f.mae_gauge_fixed_mev, f.rmse_gauge_fixed_mev, f.relative_gauge_fixed, f.max_gauge_fixed_mev];
    format!(
        "{},{},{},{},{},{},{}",
        f.elements,
        f.mean_abs_mev,
        f.mae_mev,
        f.rmse_mev,
        f.relative,
        f.max_mev,
        fixed.map(some).join(",")
    )
}

/// Writes a table, whole or not at all.
fn table(out: &Path, name: &str, header: &str, lines: impl IntoIterator<Item = String>) -> Result<PathBuf> {
    let path = out.join(name);
    files::write_atomic(&path, |w| {
        writeln!(w, "{header}")?;
        lines.into_iter().try_for_each(|line| writeln!(w, "{line}"))
    })?;
    Ok(path)
}

/// Writes one table per list of the report, `orbitals.csv` with the errors of single orbitals, and `parity.csv`.
///
/// # Errors
/// A folder that cannot be written.
pub fn write(comparison: &Comparison, out: &Path) -> Result<Vec<PathBuf>> {
    let errors = &comparison.errors;
    let some = |value: Option<f64>| value.map_or(String::new(), |value| value.to_string());
    let header = |first: &str| format!("{first},{FIGURES}");
    let lines = errors.by_element_pair.iter().map(|e| format!("{},{}", e.element_pair, figures(&e.figures)));
    let mut written = vec![table(out, "by_element_pair.csv", &header("element_pair"), lines)?];
    let lines =
        errors.by_orbital_pair.iter().map(|e| format!("{},{},{}", e.element_pair, e.shells, figures(&e.figures)));
    written.push(table(out, "by_orbital_pair.csv", &header("element_pair,shells"), lines)?);
    let lines = errors.by_distance.iter().map(|e| format!("{},{},{}", e.from, e.to, figures(&e.figures)));
    written.push(table(out, "by_distance.csv", &header("from_angstrom,to_angstrom"), lines)?);
    let line = |e: &StructureError| format!("{},{},{}", quoted(&e.structure), some(e.mu_mev), figures(&e.figures));
    let lines = errors.by_structure.iter().map(line);
    written.push(table(out, "by_structure.csv", &header("structure,mu_mev"), lines)?);
    let lines = errors.maps.iter().flat_map(|map| {
        map.mae_mev.iter().enumerate().flat_map(move |(row, values)| {
            values.iter().enumerate().map(move |(column, value)| format!("{},{row},{column},{value}", map.element_pair))
        })
    });
    written.push(table(out, "orbitals.csv", "element_pair,row_orbital,column_orbital,mae_mev", lines)?);
    let line = |p: &ParityElement| format!("{},{},{}", p.reference_ev, p.predicted_ev, some(p.gauge_fixed_ev));
    written.push(table(out, "parity.csv", "reference_ev,predicted_ev,gauge_fixed_ev", errors.parity.iter().map(line))?);
    if let Some(spectrum) = &comparison.spectrum {
        let lines = spectrum.by_structure.iter().map(spectrum_line);
        written.push(table(out, "spectrum.csv", SPECTRUM, lines)?);
    }
    Ok(written)
}

const SPECTRUM: &str = "structure,electrons,metal,states,band_mae_mev,band_max_mev,fermi_aligned_mae_mev,\
    fermi_error_mev,gap_ev,gap_error_mev,ghost_states,ghosts_below,similarity_mean,similarity_worst";

/// Columns of [`SPECTRUM`].
fn spectrum_line(s: &StructureSpectrum) -> String {
    let e = &s.errors;
    let bands = [e.band_mae_mev, e.band_max_mev, e.fermi_aligned_mae_mev];
    let bands = bands.map(|value| value.map_or(String::new(), |value| value.to_string())).join(",");
    let gap = [e.fermi_error_mev, e.gap_ev, e.gap_error_mev].map(|value| value.to_string()).join(",");
    let (name, similar) = (quoted(&s.structure), format!("{},{}", e.similarity_mean, e.similarity_worst));
    let (ghosts, below) = (e.ghost_states, e.ghosts_below);
    format!("{name},{},{},{},{bands},{gap},{ghosts},{below},{similar}", e.electrons, e.metal, e.states)
}

/// A name as a field of a table.
fn quoted(name: &str) -> String {
    match name.contains([',', '"', '\n']) {
        true => format!("\"{}\"", name.replace('"', "\"\"")),
        false => name.to_owned(),
    }
}

/// One screen: totals, the worst of each list, the spectrum.
pub fn screen(report: &Report) -> String {
    let comparison = &report.comparison;
    let errors = &comparison.errors;
    let f = &errors.figures;
    let mut text = format!(
        "{} structures, {} elements, mean |H| {:.1} meV\n\n{:<14}{:>14}{:>16}\n",
        comparison.structures, f.elements, f.mean_abs_mev, "", "as predicted", "gauge fixed"
    );
    let digits = |value: Option<f64>| value.map_or("-".into(), short);
    for (name, raw, fixed) in [
        ("MAE meV", f.mae_mev, f.mae_gauge_fixed_mev),
        ("RMSE meV", f.rmse_mev, f.rmse_gauge_fixed_mev),
        ("relative", f.relative, f.relative_gauge_fixed),
        ("largest meV", f.max_mev, f.max_gauge_fixed_mev),
    ] {
        text += &format!("{name:<14}{:>14}{:>16}\n", short(raw), digits(fixed));
    }
    if let Some(extreme) = errors.largest_gauge_fixed.as_ref().or(errors.largest.as_ref()) {
        text += &format!("largest at {}\n", place(extreme));
    }
    text += &format!(
        "averages: over single orbitals {}, over element pairs {} meV\n",
        short(errors.orbital_average_mev),
        short(errors.element_pair_average_mev)
    );
    text += &lists(errors);
    if let Some(spectrum) = &comparison.spectrum {
        text += &spectrum_lines(spectrum);
    }
    for (names, what) in [
        (&report.without_prediction, "without prediction"),
        (&report.without_reference, "predictions without reference"),
    ] {
        if let Some(first) = names.first() {
            text += &format!("\n{} {what}, such as {first}", names.len());
        }
    }
    text
}

/// The worst of each list, gauge-fixed where that is known.
fn lists(errors: &MatrixErrors) -> String {
    let error = |f: &Figures| short(f.mae_gauge_fixed_mev.unwrap_or(f.mae_mev));
    let line = |name: String, f: &Figures| format!("  {name:<24}{:>12}{:>14}\n", error(f), short(f.mean_abs_mev));
    let mut text = format!("\n{:<26}{:>12}{:>14}\n", "worst", "MAE meV", "mean |H| meV");
    for pair in errors.by_element_pair.iter().take(MOST_LINES) {
        text += &line(pair.element_pair.clone(), &pair.figures);
    }
    for pair in errors.by_orbital_pair.iter().take(MOST_LINES) {
        text += &line(format!("{} {}", pair.element_pair, pair.shells), &pair.figures);
    }
    let mut ranges: Vec<_> = errors.by_distance.iter().collect();
    let size = |f: &Figures| f.mae_gauge_fixed_mev.unwrap_or(f.mae_mev);
    ranges.sort_by(|a, b| size(&b.figures).total_cmp(&size(&a.figures)));
    ranges.truncate(MOST_LINES);
    ranges.sort_by(|a, b| a.to.total_cmp(&b.to));
    for range in ranges {
        let name = if range.to == 0.0 { "on-site".into() } else { format!("{} to {} A", range.from, range.to) };
        text += &line(name, &range.figures);
    }
    for structure in errors.by_structure.iter().take(MOST_LINES) {
        text += &line(structure.structure.clone(), &structure.figures);
    }
    text
}

fn spectrum_lines(s: &SpectrumSummary) -> String {
    let digits = |value: Option<f64>| value.map_or("-".into(), short);
    let mut text = format!(
        "\nspectrum of {} structures, {} states within {} to {} eV of the Fermi level\n",
        s.structures, s.states, s.window_ev[0], s.window_ev[1]
    );
    text += &format!("  {:<40}{:>12}\n", "bands, MAE meV", digits(s.band_mae_mev));
    text += &format!("  {:<40}{:>12}\n", "bands, largest meV", digits(s.band_max_mev));
    text += &format!("  {:<40}{:>12}\n", "bands from the Fermi level, MAE meV", digits(s.fermi_aligned_mae_mev));
    text += &format!("  {:<40}{:>12}\n", "gap, MAE meV", short(s.gap_mae_mev));
    text += &format!("  {:<40}{:>12}\n", "Fermi level, MAE meV", short(s.fermi_mae_mev));
    text += &format!("  {:<40}{:>12}\n", "ghost states (off by more than 0.5 eV)", s.ghost_states);
    text += &format!("  {:<40}{:>12}\n", "ghosts below all bands", s.ghosts_below);
    text += &format!("  {:<40}{:>12.9}\n", "occupied subspace, mean similarity", s.similarity_mean);
    text += &format!("  {:<40}{:>12.9}  {}\n", "worst", s.similarity_worst, s.similarity_worst_structure);
    if s.ghosts_below > 0 && s.overlap_threshold.is_none() {
        text += "  ghosts below come from a nearly singular overlap: see what --overlap-threshold 0.005 leaves\n";
    }
    if let Some(first) = s.without_filling.first() {
        let count = s.without_filling.len();
        text += &format!("  {count} left out, such as {first}: no occupation and no Fermi level (--electrons)\n");
    }
    text
}

fn place(e: &Extreme) -> String {
    format!(
        "{} {:?} {} ({}), {:.2} A: {} eV for {} eV",
        e.structure,
        e.pair,
        e.element_pair,
        e.orbitals,
        e.distance,
        short(e.predicted_ev),
        short(e.reference_ev)
    )
}

/// Four significant digits.
fn short(value: f64) -> String {
    let size = value.abs();
    if value != 0.0 && !(1e-3..1e6).contains(&size) {
        return format!("{value:.3e}");
    }
    let digits = if size > 0.0 { (3.0 - size.log10().floor()).clamp(0.0, 6.0) as usize } else { 0 };
    format!("{value:.digits$}")
}
