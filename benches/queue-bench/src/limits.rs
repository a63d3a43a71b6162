//! What the machine itself can do, without any queue.

use crate::reference::prewritten;
use crate::results::{Latency, Row};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::time::{Duration, Instant};

fn line(name: &str, n: usize, secs: f64, ns: Vec<u64>) {
    let (figure, latency) = (n as f64 / secs, Latency::of(ns));
    let row = Row { target: "limit".into(), load: name.into(), figure, latency, ..Row::default() };
    println!("{}", row.line());
}

/// Repeat for about two seconds, at most `max` times.
fn repeat(name: &str, max: usize, mut step: impl FnMut(usize) -> io::Result<()>) -> io::Result<()> {
    let (start, mut ns) = (Instant::now(), Vec::new());
    while ns.len() < max && start.elapsed() < Duration::from_secs(2) {
        let t = Instant::now();
        step(ns.len())?;
        ns.push(t.elapsed().as_nanos() as u64);
    }
    line(name, ns.len(), start.elapsed().as_secs_f64(), ns);
    Ok(())
}

pub fn all(dir: &str) -> io::Result<()> {
    let path = format!("{dir}/limits.tmp");
    for (kib, name) in [
        (4, "fdatasync 4 KiB, prewritten file"),
        (16, "fdatasync 16 KiB, prewritten file"),
        (64, "fdatasync 64 KiB, prewritten file"),
        (256, "fdatasync 256 KiB, prewritten file"),
    ] {
        let file = prewritten(&path, 256 << 20)?;
        let data = vec![7u8; kib << 10];
        repeat(name, 100_000, |i| {
            file.write_all_at(&data, (i * data.len()) as u64 % (255 << 20))?;
            file.sync_data()
        })?;
    }
    for (name, data_only) in [("fdatasync 4 KiB, growing file", true), ("fsync 4 KiB, growing file", false)] {
        let mut file = File::create(&path)?;
        repeat(name, 100_000, |_| {
            file.write_all(&[7u8; 4096])?;
            if data_only { file.sync_data() } else { file.sync_all() }
        })?;
    }
    let mut file = File::create(&path)?;
    let (start, block) = (Instant::now(), vec![7u8; 1 << 20]);
    for _ in 0..2048 {
        file.write_all(&block)?;
    }
    file.sync_all()?;
    line("sequential write then fsync, 2 GiB (MiB/s)", 2048, start.elapsed().as_secs_f64(), vec![]);
    std::fs::remove_file(&path)?;

    let (mut a, mut b) = UnixStream::pair()?;
    let echo = std::thread::spawn(move || {
        let mut buf = [0u8; 1];
        while b.read_exact(&mut buf).and_then(|_| b.write_all(&buf)).is_ok() {}
    });
    let mut buf = [0u8; 1];
    repeat("unix socket ping-pong, two threads", 1_000_000, |_| {
        a.write_all(&buf)?;
        a.read_exact(&mut buf)
    })?;
    drop(a);
    let _ = echo.join();

    let (mut a, mut b) = UnixStream::pair()?;
    let sink = std::thread::spawn(move || {
        let (mut buf, mut sum) = (vec![0u8; 65536], 0);
        while let Ok(n @ 1..) = b.read(&mut buf) {
            sum += n;
        }
        sum
    });
    let (start, mut sends) = (Instant::now(), 0);
    while start.elapsed() < Duration::from_secs(2) {
        a.write_all(&[1u8; 128])?;
        sends += 1;
    }
    line("unix socket, 128 B writes one way", sends, start.elapsed().as_secs_f64(), vec![]);
    let (start, mut sends) = (Instant::now(), 0);
    while start.elapsed() < Duration::from_secs(2) {
        a.write_all(&[1u8; 65536])?;
        sends += 512;
    }
    line("unix socket, 128 B messages in 64 KiB writes", sends, start.elapsed().as_secs_f64(), vec![]);
    drop(a);
    let _ = sink.join();

    repeat("spawn /bin/true and wait, one at a time", 100_000, |_| {
        Command::new("/bin/true").status().map(|_| ())
    })?;
    let start = Instant::now();
    let threads: Vec<_> = (0..2)
        .map(|_| {
            std::thread::spawn(move || {
                (0..)
                    .take_while(|_| {
                        start.elapsed() < Duration::from_secs(2) && Command::new("/bin/true").status().is_ok()
                    })
                    .count()
            })
        })
        .collect();
    let n = threads.into_iter().map(|t| t.join().unwrap_or(0)).sum();
    line("spawn /bin/true and wait, two threads", n, start.elapsed().as_secs_f64(), vec![]);
    Ok(())
}
