//! SIGKILL at random moments: also while the daemon starts, and several times before anything is looked at.

use crate::world::{Failure, World};
use std::time::Duration;

/// The longest life after the first answer.
const LIFE_MS: u64 = 1_000;
/// A kill that comes earlier than this finds most starts unfinished.
const START_MS: u64 = 40;

pub(crate) async fn run(world: &mut World, rounds: u64) -> Result<String, Failure> {
    for round in 0..rounds {
        life(world).await.map_err(|failure| failure.within(&format!("round {round}")))?;
    }
    let mut daemon = world.place.start(&[])?;
    let client = world.started(&mut daemon).await?;
    world.check_calmly(&client).await?;
    daemon.stop().await?;
    Ok(format!("{rounds} kills, {}", world.summary()))
}

async fn life(world: &mut World) -> Result<(), Failure> {
    world.place.configure(&mut world.rng, "")?;
    let mut daemon = world.place.start(&[])?;
    if world.rng.u8(..8) == 0 {
        tokio::time::sleep(Duration::from_millis(world.rng.u64(..START_MS))).await;
        daemon.kill()?;
        return world.died();
    }
    let client = world.started(&mut daemon).await?;
    if world.rng.u8(..4) > 0 {
        world.check_calmly(&client).await?;
    }
    // Short lives are as likely as long ones.
    let most = LIFE_MS >> world.rng.u32(..6);
    let moment = Duration::from_micros(world.rng.u64(..most * 1_000));
    let killing = async {
        tokio::time::sleep(moment).await;
        daemon.kill()
    };
    let ((), killed) = tokio::join!(world.load(), killing);
    killed?;
    world.died()
}
