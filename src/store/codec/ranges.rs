//! Ids of jobs, on disk.

use super::DecodeError;
use crate::core::{IdRange, Ids, JobId};
use bincode::de::{BorrowDecoder, Decoder};
use bincode::enc::Encoder;
use bincode::error::{DecodeError as BincodeError, EncodeError};
use bincode::{BorrowDecode, Decode, Encode};

/// First id and length.
#[derive(Clone, Copy, Encode, Decode)]
pub(super) struct RangeV1(pub(super) u64, pub(super) u64);

/// A list of ids: how many ranges, and these. One range, as nearly all have, costs no allocation.
pub(super) struct IdsV1(pub(super) Ids);

/// The same, to be written.
pub(super) struct IdsRef<'a>(pub(super) &'a Ids);

impl Encode for IdsRef<'_> {
    fn encode<E: Encoder>(&self, encoder: &mut E) -> Result<(), EncodeError> {
        (self.0.ranges().len() as u64).encode(encoder)?;
        self.0.ranges().iter().try_for_each(|range| RangeV1::from(*range).encode(encoder))
    }
}

impl<C> Decode<C> for IdsV1 {
    fn decode<D: Decoder<Context = C>>(decoder: &mut D) -> Result<Self, BincodeError> {
        let mut ids = Ids::new();
        for _ in 0..u64::decode(decoder)? {
            let range = IdRange::try_from(RangeV1::decode(decoder)?)
                .map_err(|error| BincodeError::OtherString(error.to_string()))?;
            ids.push_range(range);
        }
        Ok(IdsV1(ids))
    }
}

impl<'de, C> BorrowDecode<'de, C> for IdsV1 {
    fn borrow_decode<D: BorrowDecoder<'de, Context = C>>(decoder: &mut D) -> Result<Self, BincodeError> {
        IdsV1::decode(decoder)
    }
}

impl From<IdRange> for RangeV1 {
    fn from(range: IdRange) -> RangeV1 {
        RangeV1(range.first.0, range.len)
    }
}

impl TryFrom<RangeV1> for IdRange {
    type Error = DecodeError;

    fn try_from(RangeV1(first, len): RangeV1) -> Result<IdRange, DecodeError> {
        if first == 0 || len == 0 || first.checked_add(len).is_none() {
            return Err(DecodeError::Value("a range of job ids"));
        }
        Ok(IdRange::new(JobId(first), len))
    }
}
