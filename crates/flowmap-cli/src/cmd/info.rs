//! `flowmap info`.

use anyhow::Result;
use candle_core::Device;
use flowmap_dual::{Execution, fused_operations};
use flowmap_figure::report::Table;
use flowmap_train::{Model, Weights};
use serde_json::json;

use crate::args::{Format, InfoArgs};
use crate::device::{device, name_of};
use crate::table;

/// Prints the conventions, the network and the tensors of a model; or the operations that are fused on a device.
///
/// # Errors
/// An error if the model or the device does not exist, or the model is malformed.
pub fn run(args: &InfoArgs) -> Result<()> {
    let Some(path) = &args.model else {
        return of_device(&device(args.device.as_deref().unwrap_or("cpu"))?, args.format);
    };
    let model = Model::open(path, Weights::Best, &Device::Cpu)?;
    let tensors = model.params.tensors();
    let n_elements: usize = tensors.values().map(|t| t.elem_count()).sum();
    let config = &model.config;
    match args.format {
        Format::Json => {
            let tensors: serde_json::Map<String, serde_json::Value> =
                tensors.iter().map(|(name, t)| (name.clone(), json!(t.dims()))).collect();
            let info =
                json!({ "file": model.path, "config": config, "numbers": n_elements, "tensors": tensors });
            table::line(&serde_json::to_string_pretty(&info)?)?;
        }
        Format::Table => {
            let mut rows = vec![
                ("file", model.path.display().to_string()),
                ("name", config.name.clone()),
                ("data", config.data.kind().to_owned()),
                ("sample", format!("{:?}", config.shape)),
                ("classes", config.n_classes.to_string()),
                ("interpolant", config.interpolant.to_string()),
                ("time", config.time_direction.clone()),
                ("flow map", config.parametrization.clone()),
                ("sigma_data", format!("{:.6}", config.sigma_data)),
                ("numbers", n_elements.to_string()),
            ];
            if let Some(n) = config.trained.as_ref().and_then(|trained| trained.n_samples) {
                rows.push(("trained on", format!("{n} samples")));
            }
            if let Some(range) = config.guidance {
                rows.push(("guidance", range.to_string()));
            }
            for (key, value) in rows {
                table::line(&format!("{key:<14}{value}"))?;
            }
            if !config.class_names.is_empty() {
                table::line("")?;
                let headers = vec!["class".into(), "name".into()];
                let names = config.class_names.iter().enumerate();
                let rows = names.map(|(class, name)| vec![class.to_string(), name.clone()]).collect();
                table::print(&Table { headers, rows })?;
            }
            table::line("")?;
            let headers = vec!["tensor".into(), "shape".into()];
            let rows =
                tensors.iter().map(|(name, t)| vec![name.clone(), format!("{:?}", t.dims())]).collect();
            table::print(&Table { headers, rows })?;
        }
    }
    Ok(())
}

/// How each operation runs on a device.
fn of_device(device: &Device, format: Format) -> Result<()> {
    let operations = fused_operations(device);
    match format {
        Format::Json => {
            let named =
                |(name, execution): (&str, Execution)| (name.to_owned(), json!(execution.to_string()));
            let all: serde_json::Map<String, serde_json::Value> = operations.into_iter().map(named).collect();
            let all = json!({ "device": name_of(device), "f32": all });
            Ok(table::line(&serde_json::to_string_pretty(&all)?)?)
        }
        Format::Table => {
            let row = |(name, execution): (&str, Execution)| vec![name.to_owned(), execution.to_string()];
            let headers = vec![format!("f32 on {}", name_of(device)), "runs".into()];
            Ok(table::print(&Table { headers, rows: operations.into_iter().map(row).collect() })?)
        }
    }
}
