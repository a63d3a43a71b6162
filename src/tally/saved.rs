//! The past as bytes, to bring it back after a start. It can be lost without harm: what cannot be read is left away, whatever it
//! is. The form is this daemon's own, and no part of the data format.

use super::history::{COARSE_KEPT, FINE_IN_COARSE, FINE_KEPT, Lives, Point, Rings, Series};
use super::{OTHERS, Slot, Tally};
use crate::core::QueueName;
use std::sync::Arc;

/// What the bytes begin with. Another form has another number.
const MAGIC: &[u8; 8] = b"mushtat1";
/// The bytes of a point.
const POINT: usize = 44;

/// The past at one moment. To take it costs little; to make bytes of it can be done elsewhere.
#[derive(Clone, Debug)]
pub struct Saved {
    lives: Lives,
    queues: Vec<(Arc<str>, Arc<Rings>)>,
}

/// These are no bytes of a past.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the file is damaged, or of another version")]
pub struct BadPast;

impl Saved {
    /// As bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        let number = |out: &mut Vec<u8>, number: usize| out.extend((number as u32).to_le_bytes());
        number(&mut out, self.lives.0.len());
        for (from, until) in &self.lives.0 {
            out.extend(from.to_le_bytes());
            out.extend(until.to_le_bytes());
        }
        number(&mut out, self.queues.len());
        for (name, rings) in &self.queues {
            number(&mut out, name.len());
            out.extend(name.as_bytes());
            for series in [&rings.fine, &rings.coarse] {
                out.extend(series.ready_before.to_le_bytes());
                number(&mut out, series.points.len());
                for (step, point) in &series.points {
                    out.extend(step.to_le_bytes());
                    numbers(point).into_iter().for_each(|number| out.extend(number.to_le_bytes()));
                }
            }
        }
        out.extend(crc32c::crc32c(&out).to_le_bytes());
        out
    }

    /// From bytes.
    ///
    /// # Errors
    /// They are damaged, or of another version of the daemon.
    pub fn decode(bytes: &[u8]) -> Result<Saved, BadPast> {
        let (content, sum) = bytes.split_last_chunk::<4>().ok_or(BadPast)?;
        if crc32c::crc32c(content) != u32::from_le_bytes(*sum) {
            return Err(BadPast);
        }
        let mut reader = Reader(content.strip_prefix(MAGIC).ok_or(BadPast)?);
        let count = reader.count(8)?;
        let lives = (0..count).map(|_| -> Result<_, BadPast> { Ok((reader.number()?, reader.number()?)) });
        let lives = Lives(lives.collect::<Result<_, BadPast>>()?);
        let mut queues = Vec::new();
        for _ in 0..reader.count(20)? {
            let len = reader.count(1)?;
            let name = std::str::from_utf8(reader.bytes(len)?).map_err(|_| BadPast)?;
            let mut series = || -> Result<Series, BadPast> {
                let ready_before = reader.number()?;
                let count = reader.count(POINT)?;
                let points =
                    (0..count).map(|_| -> Result<_, BadPast> { Ok((reader.number()?, reader.point()?)) });
                Ok(Series { points: points.collect::<Result<_, BadPast>>()?, ready_before })
            };
            let rings = Rings { fine: series()?, coarse: series()? };
            queues.push((name.into(), Arc::new(rings)));
        }
        Ok(Saved { lives, queues })
    }
}

fn numbers(point: &Point) -> [u32; 10] {
    let Point { submitted, started, completed, failed, dead, ready, wait_p50, wait_p99, run_p50, run_p99 } =
        *point;
    [submitted, started, completed, failed, dead, ready, wait_p50, wait_p99, run_p50, run_p99]
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn bytes(&mut self, len: usize) -> Result<&'a [u8], BadPast> {
        let (bytes, rest) = self.0.split_at_checked(len).ok_or(BadPast)?;
        self.0 = rest;
        Ok(bytes)
    }

    fn number(&mut self) -> Result<u32, BadPast> {
        let (number, rest) = self.0.split_first_chunk().ok_or(BadPast)?;
        self.0 = rest;
        Ok(u32::from_le_bytes(*number))
    }

    /// How many things follow that have so many bytes each, at least.
    fn count(&mut self, each: usize) -> Result<usize, BadPast> {
        let count = self.number()? as usize;
        if count > self.0.len() / each { Err(BadPast) } else { Ok(count) }
    }

    fn point(&mut self) -> Result<Point, BadPast> {
        let mut next = || self.number();
        Ok(Point {
            submitted: next()?,
            started: next()?,
            completed: next()?,
            failed: next()?,
            dead: next()?,
            ready: next()?,
            wait_p50: next()?,
            wait_p99: next()?,
            run_p50: next()?,
            run_p99: next()?,
        })
    }
}

impl Tally {
    /// The past as it is now.
    pub fn save(&self) -> Saved {
        let in_use = self.slots.iter().filter(|slot| !slot.name.is_empty());
        let queues = in_use.map(|slot| (slot.name.clone(), slot.rings.clone())).collect();
        Saved { lives: self.lives.clone(), queues }
    }

    /// Brings the past of a former life back, before anything was counted. Of queues that are not there any more nothing comes, nor what lies
    /// ahead: the clock may have been set.
    pub fn restore(&mut self, saved: Saved) {
        let Saved { mut lives, queues } = saved;
        lives.0.iter_mut().for_each(|(_, until)| *until = (*until).min(self.step + 1));
        lives.0.retain(|(from, until)| from < until);
        let in_order = lives.0.iter().zip(lives.0.iter().skip(1)).all(|(one, next)| one.1 <= next.0);
        if !in_order {
            return;
        }
        self.lives = lives;
        for (name, mut rings) in queues {
            let place = QueueName::new(&name).ok().and_then(|name| self.places.get(&name).copied());
            let slot = match place {
                Some(place) => Some(&mut self.slots[place]),
                None if &*name == OTHERS => self.slots.first_mut(),
                None => None,
            };
            // One that has no numbers of its own any more has no past of its own either.
            let Some(slot) = slot.filter(|slot: &&mut Slot| slot.name == name) else { continue };
            let (step, kept) = (self.step, Arc::make_mut(&mut rings));
            kept.fine.bound(step, FINE_KEPT);
            kept.coarse.bound(step / FINE_IN_COARSE, COARSE_KEPT);
            slot.rings = rings;
        }
    }
}
