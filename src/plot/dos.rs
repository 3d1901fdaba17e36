//! Densities of states: a curve for each Hamiltonian, from its own Fermi level.

use plotters::prelude::*;
use std::path::Path;

use super::{COLOURS, FONT, legend, save, tick};
use crate::physics::{Error, Result};
use crate::spectrum::DensityOfStates;
use crate::spectrum::dos::DosCurve;

/// Draws all curves, energies from the Fermi level where every curve has one. `path` is the SVG or PNG.
///
/// # Errors
/// No curve, a folder that cannot be written.
pub fn draw(path: &Path, found: &DensityOfStates) -> Result<()> {
    let relative = found.curves.iter().all(|curve| curve.fermi_ev.is_some());
    let points = |curve: &DosCurve| -> Vec<(f64, f64)> {
        let zero = curve.fermi_ev.filter(|_| relative).unwrap_or(0.0);
        let energies = curve.dos.energies_ev.iter().map(|e| e - zero);
        energies.zip(curve.dos.states_per_ev.iter().copied()).collect()
    };
    let all = || found.curves.iter().flat_map(points);
    let (low, high) = all().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), p| (l.min(p.0), h.max(p.0)));
    if low >= high {
        let (expected, found) = ("at least one curve of two energies".into(), "none".into());
        return Err(Error::Mismatch { what: "density of states".into(), expected, found });
    }
    let top = 1.05 * all().map(|p| p.1).fold(1e-9, f64::max);
    save(path, (860, 520), |area| {
        let mut chart = ChartBuilder::on(area)
            .caption(&found.structure, (FONT, 18))
            .margin(18)
            .x_label_area_size(48)
            .y_label_area_size(64)
            .build_cartesian_2d(low..high, 0.0..top)?;
        chart
            .configure_mesh()
            .light_line_style(WHITE)
            .bold_line_style(RGBColor(225, 225, 225))
            .x_desc(if relative { "E - E_F (eV)" } else { "E (eV)" })
            .y_desc("states per eV and cell")
            .x_label_formatter(&|x| tick(*x))
            .y_label_formatter(&|y| tick(*y))
            .label_style((FONT, 15))
            .axis_desc_style((FONT, 16))
            .draw()?;
        if relative && low < 0.0 && high > 0.0 {
            chart.draw_series(DashedLineSeries::new([(0.0, 0.0), (0.0, top)], 5, 5, RGBColor(120, 120, 120).into()))?;
        }
        for (k, curve) in found.curves.iter().enumerate() {
            let colour = COLOURS[k % COLOURS.len()];
            chart
                .draw_series(LineSeries::new(points(curve), colour.stroke_width(2)))?
                .label(curve.name.clone())
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 24, y)], colour.stroke_width(3)));
        }
        legend(&mut chart, SeriesLabelPosition::UpperRight)
    })
}
