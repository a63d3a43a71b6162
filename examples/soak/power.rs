//! Power cuts: an ext4 of its own is shut down under the running daemon, without its journal being flushed, so that
//! everything that was not synced is lost; then it is mounted again.

use crate::disk::{Loop, Mount, format, refuse_without_root};
use crate::world::{Failure, World};
use std::fs::{self, File};
use std::time::Duration;

const IMAGE_BYTES: u64 = 512 << 20;
/// The longest life after the first answer. The journal is written every five seconds by itself.
const LIFE_MS: u64 = 3_000;

pub(crate) async fn run(world: &mut World, rounds: u64) -> Result<String, Failure> {
    refuse_without_root()?;
    let image = world.place.dir.join("image");
    File::create(&image)?.set_len(IMAGE_BYTES)?;
    let device = Loop::over(&image, false)?;
    format(&device.device)?;
    fs::create_dir(&world.place.data)?;
    for round in 0..rounds {
        let mount = Mount::new(&device.device, &world.place.data)?;
        life(world, &mount).await.map_err(|failure| failure.within(&format!("round {round}")))?;
        mount.unmount().await?;
    }
    let mount = Mount::new(&device.device, &world.place.data)?;
    let mut daemon = world.place.start(&[])?;
    let client = world.started(&mut daemon).await?;
    world.check_calmly(&client).await?;
    daemon.stop().await?;
    mount.unmount().await?;
    Ok(format!("{rounds} power cuts, {}", world.summary()))
}

async fn life(world: &mut World, mount: &Mount) -> Result<(), Failure> {
    world.place.configure(&mut world.rng, "")?;
    let mut daemon = world.place.start(&[])?;
    let client = world.started(&mut daemon).await?;
    if world.rng.u8(..4) > 0 {
        world.check_calmly(&client).await?;
    }
    let most = LIFE_MS >> world.rng.u32(..5);
    let moment = Duration::from_micros(world.rng.u64(..most * 1_000));
    let recorder = world.recorder.clone();
    let cutting = async {
        tokio::time::sleep(moment).await;
        // A machine without power says nothing any more.
        recorder.stop();
        mount.cut()?;
        daemon.kill()
    };
    let ((), cut) = tokio::join!(world.load(), cutting);
    cut?;
    world.died()
}
