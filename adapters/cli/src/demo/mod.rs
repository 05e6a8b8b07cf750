//! `homing demo`: relay, host and device on this machine. Checks that all of it works, shows what the relay saw of it,
//! and stays for a browser and for more devices.

mod check;
mod fetch;
mod sample;
mod stage;
mod visit;
mod witness;

use core::pin::pin;

use crate::args::DemoArgs;
use crate::failure::{Exit, Failure};
use crate::output::Output;
use crate::signals;

use stage::Stage;
use witness::Witness;

/// Runs the demo until it is stopped, or until its check is done.
pub(crate) async fn demo(args: DemoArgs, out: Output) -> Result<(), Failure> {
    let mut stop = pin!(signals::shutdown()?);
    let witness = Witness::default();
    let stage = tokio::select! {
        stage = Stage::set(&witness) => stage?,
        () = &mut stop => return Err(Failure::Silent(Exit::Failed)),
    };
    let show = async {
        let good = check::check(&stage, &witness, out).await?;
        if args.once {
            return if good { Ok(()) } else { Err(Failure::Silent(Exit::Failed)) };
        }
        visit::receive(&args, &stage, out).await
    };
    let ended = tokio::select! {
        ended = show => ended,
        () = &mut stop => Ok(()),
    };
    stage.clear().await;
    ended
}
