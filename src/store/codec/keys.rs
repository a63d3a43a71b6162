//! Keys that were served, on disk: in events and in rows alike, the rate that was in force and what is remembered of each.

use super::overrides::RateV1;
use super::{DecodeError, Reader, put};
use crate::core::{JobId, Key, PageNo, QueueName, Rate, RateUsed, ServedKey, Turn};

/// The length of a page's number in the key of its row.
const PAGE_LEN: usize = size_of::<PageNo>();

pub(super) fn put_served(rate: Option<Rate>, keys: &[ServedKey], out: &mut Vec<u8>) {
    put((rate.map(RateV1::from), keys.len() as u64), out);
    keys.iter().for_each(|served| {
        put((served.key.hash(), served.used.0, served.turn.newest.0, served.turn.leases), out)
    });
}

pub(super) fn read_served(reader: &mut Reader<'_>) -> Result<(Option<Rate>, Vec<ServedKey>), DecodeError> {
    let rate = reader.take::<Option<RateV1>>()?.map(Rate::try_from).transpose()?;
    let served = |reader: &mut Reader<'_>| {
        let (key, used, newest, leases): ([u8; 16], u64, u64, u64) = reader.take()?;
        let turn = Turn { newest: JobId(newest), leases };
        Ok(ServedKey { key: Key::new(key), used: RateUsed(used), turn })
    };
    let count = reader.count()?;
    Ok((rate, (0..count).map(|_| served(reader)).collect::<Result<_, DecodeError>>()?))
}

/// A queue, and the number of a page of its keys.
pub(super) fn read_page(reader: &mut Reader<'_>) -> Result<(QueueName, PageNo), DecodeError> {
    let (queue, page): (&str, u64) = reader.take()?;
    Ok((QueueName::new(queue)?, page))
}

/// The key of a page's row, behind the byte that says what it is of: its number, and its queue.
pub(super) fn put_page_key(first: u8, queue: &QueueName, page: PageNo) -> Vec<u8> {
    [&[first][..], &page.to_be_bytes(), queue.as_str().as_bytes()].concat()
}

/// Reads that again.
pub(super) fn read_page_key(key: &[u8]) -> Result<(QueueName, PageNo), DecodeError> {
    let (page, queue) =
        key.split_first_chunk::<PAGE_LEN>().ok_or(DecodeError::Value("the number of a page"))?;
    let queue = std::str::from_utf8(queue).map_err(|_| DecodeError::Value("the queue of a page"))?;
    Ok((QueueName::new(queue)?, PageNo::from_be_bytes(*page)))
}
