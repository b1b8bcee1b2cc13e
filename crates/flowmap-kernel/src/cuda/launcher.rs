//! Kernels on a CUDA device: compiled by NVRTC when first used, launched on the stream of the device.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use candle_core::cuda::cudarc::driver::{
    CudaFunction, CudaModule, CudaSlice, DevicePtr, DevicePtrMut, LaunchConfig, PushKernelArg, SyncOnDrop,
};
use candle_core::cuda::cudarc::nvrtc::{CompileOptions, Ptx, compile_ptx_with_opts};
use candle_core::cuda::{CudaDType, CudaDevice, CudaStorage, WrapErr};
use candle_core::{Layout, Result, bail};

use super::launches::{Arg, Config, Kernel, Launcher};
use super::{OPTIONS, SOURCES};
use crate::{Activation, CompilationError};

/// Address on the device.
pub(super) type Address = u64;

/// Which module: a device by its ordinal, a source, and the curve that it was compiled for.
type ModuleKey = (usize, &'static str, Option<&'static str>);

/// Modules of this process, each in the context of its device.
type Modules = Mutex<HashMap<ModuleKey, Arc<CudaModule>>>;

fn modules() -> &'static Modules {
    static MODULES: OnceLock<Modules> = OnceLock::new();
    MODULES.get_or_init(Modules::default)
}

/// The type of a curve in the sources.
fn type_of_curve(name: &str) -> &'static str {
    match Activation::ALL.into_iter().find(|activation| activation.name() == name) {
        Some(Activation::GeluTanh) => "GeluTanh",
        Some(Activation::GeluErf) => "GeluErf",
        Some(Activation::Silu) => "Silu",
        Some(Activation::Tanh) => "Tanh",
        Some(Activation::ReluSquared) => "ReluSquared",
        None => "Identity",
    }
}

/// Compiles a source for the architecture of the device.
fn compile(device: &CudaDevice, kernel: Kernel) -> Result<Ptx> {
    let (major, minor) = device.cuda_stream().context().compute_capability().w()?;
    let Some((_, source)) = SOURCES.iter().find(|(name, _)| *name == kernel.source) else {
        bail!("no CUDA source `{}`", kernel.source);
    };
    let mut options: Vec<String> = OPTIONS.iter().map(|option| (*option).to_owned()).collect();
    options.push(format!("--gpu-architecture=compute_{major}{minor}"));
    if let Some(curve) = kernel.curve {
        options.push(format!("--define-macro=ONLY_CURVE={}", type_of_curve(curve)));
        options.push(format!("--define-macro=ONLY_CURVE_NAME={curve}"));
    }
    let options = CompileOptions { options, name: Some(kernel.source.to_owned()), ..Default::default() };
    compile_ptx_with_opts(source, options).map_err(|cause| {
        let (source, capability) = (kernel.source, (major, minor));
        candle_core::Error::wrap(CompilationError {
            source_name: source,
            capability,
            cause: cause.to_string(),
        })
    })
}

/// The function of a kernel; its module is compiled and loaded when first used.
fn function(device: &CudaDevice, kernel: Kernel) -> Result<CudaFunction> {
    let stream = device.cuda_stream();
    let key = (stream.context().ordinal(), kernel.source, kernel.curve);
    // A map of modules is whole whatever thread panicked with it. It stays locked: a second thread would compile twice.
    let mut modules = modules().lock().unwrap_or_else(PoisonError::into_inner);
    let module = match modules.get(&key) {
        Some(module) => module.clone(),
        None => {
            let module = stream.context().load_module(compile(device, kernel)?).w()?;
            modules.insert(key, module.clone());
            module
        }
    };
    module.load_function(&kernel.name()).w()
}

/// Launches on one device, and keeps what the kernels read and write until they are under way.
pub(super) struct Cuda<'a> {
    device: &'a CudaDevice,
}

impl<'a> Cuda<'a> {
    pub(super) fn new(device: &'a CudaDevice) -> Self {
        Self { device }
    }
}

impl Launcher for Cuda<'_> {
    type Pointer = Address;
    type Error = candle_core::Error;

    fn is_aligned(&self, pointer: Address) -> bool {
        pointer.is_multiple_of(16)
    }

    fn launch(&mut self, kernel: Kernel, config: Config, args: &[Arg<Address>]) -> Result<()> {
        if config.grid == 0 {
            return Ok(());
        }
        let function = function(self.device, kernel)?;
        let stream = self.device.cuda_stream();
        let mut builder = stream.launch_builder(&function);
        for arg in args {
            match arg {
                Arg::Pointer(Some(pointer)) => builder.arg(pointer),
                Arg::Pointer(None) => builder.arg(&NULL),
                Arg::U32(x) => builder.arg(x),
                Arg::U64(x) => builder.arg(x),
                Arg::F32(x) => builder.arg(x),
                Arg::F64(x) => builder.arg(x),
            };
        }
        let config = LaunchConfig {
            grid_dim: (config.grid, 1, 1),
            block_dim: (config.block, 1, 1),
            shared_mem_bytes: config.shared_bytes,
        };
        #[expect(unsafe_code, reason = "a kernel trusts its arguments")]
        // SAFETY: number, order and types of the arguments are those of the kernel, which the test `cuda_on_host` checks
        // for every launch of `launches`; the callers pass addresses of memory of the sizes that `launches` names.
        unsafe { builder.launch(config) }.w()?;
        Ok(())
    }
}

/// Turns off the events that order the streams of a device which has only one.
pub fn trust_one_stream(device: &CudaDevice) {
    #[expect(unsafe_code, reason = "turns off what orders streams")]
    // SAFETY: all memory of this device is made, used and freed in its one stream, in which work runs in its order.
    unsafe {
        device.disable_event_tracking();
    }
}

/// The null pointer.
const NULL: Address = 0;

/// The address of the numbers of a contiguous tensor, to read; the guard is dropped once the kernel is under way.
pub(super) fn read<'a, T: CudaDType + 'a>(
    storage: &'a CudaStorage,
    layout: &Layout,
    stream: &'a candle_core::cuda::cudarc::driver::CudaStream,
) -> Result<(Address, SyncOnDrop<'a>)> {
    let Some((start, _)) = layout.contiguous_offsets() else {
        bail!("a fused operation takes contiguous tensors only");
    };
    let (address, guard) = storage.as_cuda_slice::<T>()?.device_ptr(stream);
    Ok((address + (start * size_of::<T>()) as Address, guard))
}

/// The address of memory to write.
pub(super) fn write<'a, T: CudaDType + 'a>(
    storage: &'a mut CudaStorage,
    layout: &Layout,
    stream: &'a candle_core::cuda::cudarc::driver::CudaStream,
) -> Result<(Address, SyncOnDrop<'a>)> {
    let Some((start, _)) = layout.contiguous_offsets() else {
        bail!("an update in place takes contiguous tensors only");
    };
    let (address, guard) = storage.as_cuda_slice_mut::<T>()?.device_ptr_mut(stream);
    Ok((address + (start * size_of::<T>()) as Address, guard))
}

/// Memory for `n` numbers that a kernel will write.
pub(super) fn blank<T: candle_core::cuda::cudarc::driver::DeviceRepr>(
    device: &CudaDevice,
    n: usize,
) -> Result<CudaSlice<T>> {
    #[expect(unsafe_code, reason = "memory that nobody has written")]
    // SAFETY: every bit pattern is a number, and the kernel that gets this memory writes all of it before it is read.
    unsafe {
        device.alloc::<T>(n)
    }
}
