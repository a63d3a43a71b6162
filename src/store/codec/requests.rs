//! Submits that are remembered by their keys, on disk: in events one by one, in rows by the page.

use super::job::{from_moment, moment};
use super::ranges::RangeV1;
use super::{DecodeError, Reader, put};
use crate::core::{DoneRequest, JobId, Key, PageNo, Receipt, RequestAnswer, RequestKey};
use std::sync::Arc;

// The numbers are on people's disks: none is ever used again.
const SUBMITTED: u8 = 0;
const RECEIVED: u8 = 1;
/// Before one of these: whose it is.
const OF_USER: u8 = 2;

const NEW: u8 = 0;
const EXISTING: u8 = 1;
const CHANGED: u8 = 2;
const REPLACED: u8 = 3;

/// The length of a page's number in the key of its row.
const PAGE_LEN: usize = size_of::<PageNo>();

pub(super) fn put_done(done: &DoneRequest, out: &mut Vec<u8>) {
    put((done.request.key.hash(), done.request.content.hash(), moment(done.until)), out);
    if let Some(user) = done.user {
        put((OF_USER, user), out);
    }
    match &done.answer {
        RequestAnswer::Submitted(ids) => put((SUBMITTED, RangeV1::from(*ids)), out),
        RequestAnswer::Received(receipts) => {
            put((RECEIVED, receipts.len() as u64), out);
            for receipt in receipts {
                let what = match receipt {
                    Receipt::New(_) => NEW,
                    Receipt::Existing(_) => EXISTING,
                    Receipt::Changed(_) => CHANGED,
                    Receipt::Replaced(_) => REPLACED,
                };
                put((what, receipt.id().0), out);
            }
        }
    }
}

pub(super) fn read_done(reader: &mut Reader<'_>) -> Result<DoneRequest, DecodeError> {
    let (key, content, until): ([u8; 16], [u8; 16], u64) = reader.take()?;
    let (mut what, mut user) = (reader.take::<u8>()?, None);
    if what == OF_USER {
        (user, what) = (Some(reader.take()?), reader.take()?);
    }
    let answer = match what {
        SUBMITTED => RequestAnswer::Submitted(reader.take::<RangeV1>()?.try_into()?),
        RECEIVED => {
            let receipt = |reader: &mut Reader<'_>| {
                let (what, id): (u8, u64) = reader.take()?;
                match what {
                    NEW => Ok(Receipt::New(JobId(id))),
                    EXISTING => Ok(Receipt::Existing(JobId(id))),
                    CHANGED => Ok(Receipt::Changed(JobId(id))),
                    REPLACED => Ok(Receipt::Replaced(JobId(id))),
                    _ => Err(DecodeError::Value("a receipt")),
                }
            };
            let count = reader.count()?;
            RequestAnswer::Received((0..count).map(|_| receipt(reader)).collect::<Result<_, _>>()?)
        }
        _ => return Err(DecodeError::Value("what a submit was answered")),
    };
    let request = RequestKey { key: Key::new(key), content: Key::new(content) };
    Ok(DoneRequest { request, answer, until: from_moment(until), user })
}

pub(super) fn put_page(page: &[DoneRequest], out: &mut Vec<u8>) {
    put(page.len() as u64, out);
    page.iter().for_each(|done| put_done(done, out));
}

pub(super) fn read_page(reader: &mut Reader<'_>) -> Result<Arc<Vec<DoneRequest>>, DecodeError> {
    let count = reader.count()?;
    Ok(Arc::new((0..count).map(|_| read_done(reader)).collect::<Result<_, _>>()?))
}

/// The number of a page from the key of its row, behind the byte that says what it is of.
pub(super) fn read_page_no(key: &[u8]) -> Result<PageNo, DecodeError> {
    let number: [u8; PAGE_LEN] = key.try_into().map_err(|_| DecodeError::Value("the number of a page"))?;
    Ok(PageNo::from_be_bytes(number))
}
