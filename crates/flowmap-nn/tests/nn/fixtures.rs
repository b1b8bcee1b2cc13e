//! Networks against the public definitions they follow, from seeded random weights: outputs, derivatives, losses and
//! gradients, by composed operations in f64 and by fused kernels in f32.
//!
//! Reads every file of `FLOWMAP_FIXTURES_DIR`, by default `tests/fixtures/`; its README says what they are.

use candle_core::{DType, Device, Tensor};
use flowmap_core::Linear;
use flowmap_dual::Dual;
use flowmap_nn::loss::{PositionalWeight, PositionalWeightConfig};
use flowmap_nn::method::{Context, Lsd, LsdStop, MeanFlow, MeanFlowVelocity, Method, Objective, Pass};
use flowmap_nn::net::{
    DdpmPpSize, DdpmPpUNet, DdpmPpUNetConfig, Dit, DitConfig, DitSize, Edm2UNet, Edm2UNetConfig, Positions,
    QkNorm, TimeDirection,
};
use flowmap_nn::{AverageVelocity, Batch, Condition, FlowMap, ParamBuilder, Params, Times};

use crate::support::fixture::{Fixture, paths};

/// Where either side computes in f32.
const SINGLE: f64 = 1e-4;
/// Where both sides compute in f64 from parameters in f32.
const DOUBLE: f64 = 1e-6;

/// The mean loss of a batch, the network off the tape as its teacher.
fn loss<M: AverageVelocity>(
    objective: Objective,
    (model, teacher): (&M, &M),
    (x0, x1): (&Tensor, &Tensor),
    condition: Condition<'_>,
    times: &Times,
) -> Tensor {
    let batch = Batch { x0, x1, condition, interpolant: &Linear, unit: 1.0 };
    let (model, teacher) = (FlowMap::given(model, condition), FlowMap::given(teacher, condition));
    let losses = objective.loss(&Pass::new(model, teacher, &batch, times).within(Context::default()));
    losses.unwrap().mean().unwrap()
}

fn edm2_unet(fixture: &Fixture, mut builder: ParamBuilder) -> (Edm2UNet, Params) {
    let config = Edm2UNetConfig {
        channels: fixture.number("model_channels"),
        channel_mult: fixture.list("channel_mult"),
        blocks: fixture.number("num_blocks"),
        attention: fixture.list("attn_resolutions"),
        head_channels: fixture.number("channels_per_head"),
        dropout: 0.0,
    };
    let side = fixture.number("img_resolution");
    let shape = [fixture.number("img_channels"), side, side];
    let n_classes: usize = fixture.number("label_dim");
    let net = Edm2UNet::new(&config, &shape, n_classes, fixture.number("sigma_data"), &mut builder).unwrap();
    (net, builder.finish().unwrap())
}

fn check_edm2_unet(fixture: &Fixture, dtype: DType) {
    let mut tensors = fixture.params("param.");
    let logvar = tensors.remove("logvar_linear.weight").unwrap();
    let (net, params) = edm2_unet(fixture, ParamBuilder::trainable(tensors, dtype, &Device::Cpu));
    let (teacher, _) = edm2_unet(fixture, ParamBuilder::frozen(params.tensors(), dtype, &Device::Cpu));

    let (x0, x1) = (fixture.tensor("input.x0", dtype), fixture.tensor("input.x1", dtype));
    let labels = fixture.labels("input.label");
    let condition = Condition::from(labels.as_ref());
    let time = |name: &str| fixture.times(name, dtype, |t| t);
    let times = Times::of(time("input.s"), time("input.s"), time("input.t"));
    let (s, t) = (times.s.tensor(), times.t.tensor());
    let i_s = fixture.tensor("input.i_s", dtype);

    let map = FlowMap::given(&teacher, condition);
    fixture.check("v_st", &map.average_velocity(s, t, &i_s).unwrap(), SINGLE);
    fixture.check("dt_x_st", &map.jump_dt(s, t, &i_s).unwrap().1, SINGLE);
    fixture.check("ds_x_st", &map.jump_ds(s, t, &i_s).unwrap().1, SINGLE);
    let direction = fixture.tensor("input.direction", dtype);
    fixture.check("grad_x_st.direction", &map.jvp(s, t, &i_s, &direction).unwrap().1, SINGLE);

    let channels = fixture.number("logvar_channels");
    let name = format!("loss_weight.shared{channels}.logvar_linear.weight");
    let mut builder = ParamBuilder::trainable([(name, logvar)].into(), dtype, &Device::Cpu);
    let weight = PositionalWeight::new(&PositionalWeightConfig { channels }, &mut builder).unwrap();
    builder.finish().unwrap();
    fixture.check("weight", &weight.w(&times).unwrap(), SINGLE);

    let lsd = Objective::Lsd(Lsd { stop: LsdStop::Target });
    let lsd = loss(lsd, (&net, &teacher), (&x0, &x1), condition, &times);
    fixture.check("lsd_stop_teacher", &lsd, SINGLE);
    fixture.check_gradients("", &lsd, &params, SINGLE);
}

fn dit(fixture: &Fixture, mut builder: ParamBuilder) -> (Dit, Params) {
    let dims = |name: &str| fixture.find(&format!("param.{name}")).map(|t| t.dims().to_vec());
    let kernel = dims("x_embedder.proj.weight").unwrap();
    let depth = fixture.names().filter(|n| n.starts_with("param.blocks.") && n.ends_with("attn.qkv.weight"));
    let qk_norm = match (dims("blocks.0.attn.q_norm.weight"), dims("blocks.0.attn.q_norm.bias")) {
        (None, _) => QkNorm::None,
        (Some(_), None) => QkNorm::Rms,
        (Some(_), Some(_)) => QkNorm::Layer,
    };
    let config = DitConfig {
        depth: depth.count(),
        width: kernel[0],
        heads: fixture.number("num_heads"),
        mlp_ratio: dims("blocks.0.mlp.fc1.weight").unwrap()[0] as f64 / kernel[0] as f64,
        positions: if dims("pos_embed").is_some() { Positions::Sincos } else { Positions::Rope },
        qk_norm,
        time_features: dims("t_embedder.mlp.0.weight").unwrap()[1],
        time: TimeDirection::FromData,
        ..DitConfig::new(DitSize::S, kernel[2])
    };
    let shape = &fixture.find("input.x").unwrap().dims()[1..];
    let n_classes = dims("y_embedder.embedding_table.weight").map_or(0, |dims| dims[0] - 1);
    let net = Dit::new(&config, shape, n_classes, 1.0, &mut builder).unwrap();
    (net, builder.finish().unwrap())
}

/// Their time runs from data to noise, and so do s = 1 − t and t = 1 − r here; u is −v, and both derivatives agree.
fn check_dit(fixture: &Fixture, dtype: DType) {
    let tolerance = if dtype == DType::F64 { DOUBLE } else { SINGLE };
    let (net, params) = dit(fixture, ParamBuilder::trainable(fixture.params("param."), dtype, &Device::Cpu));
    let (teacher, _) = dit(fixture, ParamBuilder::frozen(params.tensors(), dtype, &Device::Cpu));

    let (x0, x1) = (fixture.tensor("input.noise", dtype), fixture.tensor("input.x", dtype));
    let labels = fixture.labels("input.y");
    let condition = Condition::from(labels.as_ref());
    let time = |name: &str| fixture.times(name, dtype, |t| 1.0 - t);
    let times = Times::of(time("input.t"), time("input.t"), time("input.r"));
    let (s, t) = (times.s.tensor(), times.t.tensor());
    let i_s = fixture.tensor("input.z_t", dtype);

    let map = FlowMap::given(&teacher, condition);
    fixture.check("u", &map.average_velocity(s, t, &i_s).unwrap().neg().unwrap(), tolerance);
    let along = Dual::new(i_s, (&x1 - &x0).unwrap()).unwrap();
    let dual = map.average_velocity_dual(&Dual::variable(s.clone()).unwrap(), &t.into(), &along).unwrap();
    fixture.check("du_dt", dual.tangent().unwrap(), tolerance);

    let mean_flow = Objective::MeanFlow(MeanFlow { velocity: MeanFlowVelocity::Data, beta: 1.0 });
    let mean_flow = loss(mean_flow, (&net, &teacher), (&x0, &x1), condition, &times);
    fixture.check("mean_flow_loss", &mean_flow, tolerance);
    fixture.check_gradients("", &mean_flow, &params, tolerance);
}

fn ddpmpp_unet(fixture: &Fixture, mut builder: ParamBuilder) -> (DdpmPpUNet, Params) {
    let filter = fixture.list("resample_filter").into_iter().map(|f| f as f64);
    let config = DdpmPpUNetConfig {
        channels: fixture.number("model_channels"),
        channel_mult: fixture.list("channel_mult"),
        blocks: fixture.number("num_blocks"),
        attention: fixture.list("attn_resolutions"),
        noise_mult: fixture.number("channel_mult_noise"),
        filter: filter.collect(),
        augment_dim: fixture.number("augment_dim"),
        time: TimeDirection::FromData,
        ..DdpmPpUNetConfig::new(DdpmPpSize::Tiny)
    };
    let side = fixture.number("img_resolution");
    let shape = [fixture.number("img_channels"), side, side];
    let net = DdpmPpUNet::new(&config, &shape, 0, 1.0, &mut builder).unwrap();
    (net, builder.finish().unwrap())
}

/// Their time runs as that of the transformer, and the network takes it as it is; r moves the end alone, so that ∂_r u is ∂_t v.
fn check_ddpmpp_unet(fixture: &Fixture, dtype: DType) {
    let tolerance = if dtype == DType::F64 { DOUBLE } else { SINGLE };
    let tensors = fixture.params("param.");
    let (net, params) = ddpmpp_unet(fixture, ParamBuilder::trainable(tensors, dtype, &Device::Cpu));
    let (teacher, _) = ddpmpp_unet(fixture, ParamBuilder::frozen(params.tensors(), dtype, &Device::Cpu));

    let (x0, x1) = (fixture.tensor("input.noise", dtype), fixture.tensor("input.x", dtype));
    let augment = fixture.find("input.augment").map(|labels| labels.to_dtype(dtype).unwrap());
    let condition = Condition { augment: augment.as_ref(), ..Condition::default() };
    let time = |name: &str| fixture.times(name, dtype, |t| 1.0 - t);
    let times = Times::of(time("input.t"), time("input.t"), time("input.r"));
    let (s, t) = (times.s.tensor(), times.t.tensor());
    let i_s = fixture.tensor("input.z_t", dtype);

    let map = FlowMap::given(&teacher, condition);
    fixture.check("u", &map.average_velocity(s, t, &i_s).unwrap().neg().unwrap(), tolerance);
    let untold = FlowMap::new(&teacher).average_velocity(s, t, &i_s).unwrap();
    fixture.check("u_without_labels", &untold.neg().unwrap(), tolerance);
    let tangent = |s: &Dual, t: &Dual, x: &Dual| -> Tensor {
        map.average_velocity_dual(s, t, x).unwrap().tangent().unwrap().clone()
    };
    let moving = |time: &Tensor| Dual::variable(time.clone()).unwrap();
    let along = Dual::new(i_s.clone(), (&x1 - &x0).unwrap()).unwrap();
    fixture.check("du_dt", &tangent(&moving(s), &t.into(), &along), tolerance);
    fixture.check("du_dr", &tangent(&s.into(), &moving(t), &(&i_s).into()), tolerance);
    let direction = Dual::new(i_s, fixture.tensor("input.direction", dtype)).unwrap();
    let dx = tangent(&s.into(), &t.into(), &direction).neg().unwrap();
    fixture.check("du_dz", &dx, tolerance);

    let mean_flow = Objective::MeanFlow(MeanFlow { velocity: MeanFlowVelocity::Data, beta: 1.0 });
    let mean_flow = loss(mean_flow, (&net, &teacher), (&x0, &x1), condition, &times);
    fixture.check("mean_flow_loss", &mean_flow, tolerance);
    fixture.check_gradients("", &mean_flow, &params, tolerance);
}

fn check_all(dtype: DType) {
    for path in paths() {
        let fixture = Fixture::read(&path);
        match fixture.text("network") {
            "edm2_unet_two_time" => check_edm2_unet(&fixture, dtype),
            "dit_two_time" => check_dit(&fixture, dtype),
            "ddpmpp_unet_two_time" => check_ddpmpp_unet(&fixture, dtype),
            other => panic!("{}: network `{other}` is not built", path.display()),
        }
    }
}

#[test]
fn networks_agree_with_the_public_definitions_in_f64() {
    check_all(DType::F64);
}

#[test]
fn networks_agree_with_the_public_definitions_in_f32_through_fused_kernels() {
    check_all(DType::F32);
}

/// The table that a network makes for itself is the one in the file.
#[test]
fn positions_are_those_of_the_public_transformer() {
    for path in paths() {
        let fixture = Fixture::read(&path);
        let Some(expected) = fixture.find("param.pos_embed") else { continue };
        let (_, params) = dit(&fixture, ParamBuilder::fresh(1, DType::F64, &Device::Cpu));
        let found = params.tensors()["pos_embed"].clone();
        let error = (found - expected.to_dtype(DType::F64).unwrap()).unwrap().abs().unwrap();
        let error = error.flatten_all().unwrap().max(0).unwrap().to_scalar::<f64>().unwrap();
        assert!(error < DOUBLE, "{}: the table is off by {error:e}", path.display());
    }
}
