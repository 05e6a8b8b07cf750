//! A thread of its own for those that are timed, ahead of all others: they are not to wait behind those that make the load.

use tokio::runtime::{Builder, Runtime};

use rustix::process::setpriority_process;
use rustix::thread::gettid;

/// Ahead of all others where the system allows it.
pub(crate) fn runtime() -> Runtime {
    let first = || {
        let _ = setpriority_process(Some(gettid()), -20);
    };
    Builder::new_multi_thread().worker_threads(1).on_thread_start(first).enable_all().build().unwrap()
}
