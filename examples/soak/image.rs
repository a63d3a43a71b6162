//! A disk in memory that remembers the order of everything written to it, so that a power cut can be played at any point: a
//! file of a file server of ours, to lay a loop device over. Knows blocks and flushes, not what is in them.

use fastrand::Rng;
use fuser::{
    BackgroundSession, Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation,
    INodeNo, LockOwner, MountOption, OpenFlags, ReplyAttr, ReplyData, ReplyEmpty, ReplyEntry, ReplyOpen,
    ReplyWrite, Request, WriteFlags,
};
use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

const BLOCK: usize = 4096;
/// What a disk writes whole or not at all.
const SECTOR: usize = 512;

/// What is on a disk. A clone shares all blocks with the first one until they are written.
#[derive(Clone)]
pub(crate) struct Image {
    blocks: Vec<Option<Arc<[u8; BLOCK]>>>,
}

impl Image {
    pub(crate) fn empty(bytes: usize) -> Image {
        Image { blocks: vec![None; bytes / BLOCK] }
    }

    fn bytes(&self) -> usize {
        self.blocks.len() * BLOCK
    }

    fn read(&self, at: usize, len: usize) -> Vec<u8> {
        let end = (at + len).min(self.bytes());
        let mut bytes = Vec::with_capacity(len);
        while at + bytes.len() < end {
            let (block, from) = ((at + bytes.len()) / BLOCK, (at + bytes.len()) % BLOCK);
            let part = (BLOCK - from).min(end - at - bytes.len());
            match &self.blocks[block] {
                Some(block) => bytes.extend_from_slice(&block[from..from + part]),
                None => bytes.resize(bytes.len() + part, 0),
            }
        }
        bytes
    }

    fn write(&mut self, mut at: usize, mut bytes: &[u8]) {
        while !bytes.is_empty() && at < self.bytes() {
            let (block, from) = (at / BLOCK, at % BLOCK);
            let part = (BLOCK - from).min(bytes.len());
            let block = self.blocks[block].get_or_insert_with(|| Arc::new([0; BLOCK]));
            Arc::make_mut(block)[from..from + part].copy_from_slice(&bytes[..part]);
            (at, bytes) = (at + part, &bytes[part..]);
        }
    }
}

/// What a disk was asked to do.
pub(crate) enum Op {
    Write {
        at: usize,
        bytes: Box<[u8]>,
    },
    /// Everything before it survives the loss of power.
    Flush,
}

/// What becomes of what was written and not flushed when the power goes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Unflushed {
    Lost,
    Written,
    /// Some blocks, or some sectors of them.
    Mixed,
}

/// The disk at any point of a record, from its start on.
pub(crate) struct Replay<'a> {
    flushed: Image,
    ops: &'a [Op],
    /// How many of them the image has.
    done: usize,
}

impl<'a> Replay<'a> {
    pub(crate) fn new(start: Image, ops: &'a [Op]) -> Replay<'a> {
        Replay { flushed: start, ops, done: 0 }
    }

    /// What is on the disk if the power goes after this many operations. Points must be asked for in order.
    pub(crate) fn cut(&mut self, at: usize, unflushed: Unflushed, rng: &mut Rng) -> Image {
        if let Some(last) = self.ops[self.done..at].iter().rposition(|op| matches!(op, Op::Flush)) {
            let end = self.done + last + 1;
            self.ops[self.done..end].iter().for_each(|op| write(&mut self.flushed, op, &mut |_| true));
            self.done = end;
        }
        let mut image = self.flushed.clone();
        let (unit, chance) = ([SECTOR, BLOCK][rng.usize(..2)], rng.f64());
        // The file system's first block is written past its journal, and never in parts.
        let mut written = |at: usize| match unflushed {
            Unflushed::Lost => false,
            Unflushed::Written => true,
            Unflushed::Mixed => (at >= BLOCK || at == 0) && rng.f64() < chance,
        };
        for op in &self.ops[self.done..at] {
            let Op::Write { at, bytes } = op else { continue };
            if *at < BLOCK {
                write(&mut image, op, &mut |_| written(0));
                continue;
            }
            for (n, part) in bytes.chunks(unit).enumerate() {
                if written(at + n * unit) {
                    image.write(at + n * unit, part);
                }
            }
        }
        image
    }
}

fn write(image: &mut Image, op: &Op, wanted: &mut dyn FnMut(usize) -> bool) {
    if let Op::Write { at, bytes } = op
        && wanted(*at)
    {
        image.write(*at, bytes);
    }
}

struct State {
    image: Image,
    /// Kept while there is a record.
    ops: Option<Vec<Op>>,
}

/// The disk, as a file; gone when it is forgotten.
pub(crate) struct Disk {
    state: Arc<Mutex<State>>,
    dir: PathBuf,
    /// Raised with each insertion, so that nothing of another image is in a cache.
    generation: u64,
    _session: BackgroundSession,
}

impl Disk {
    /// Serves a file in a directory.
    pub(crate) fn new(dir: &Path, image: Image) -> io::Result<Disk> {
        let state = Arc::new(Mutex::new(State { image, ops: None }));
        let mut config = Config::default();
        config.mount_options = vec![MountOption::FSName("musher-soak".into())];
        let session = fuser::spawn_mount(Server { state: state.clone() }, dir, &config)?;
        Ok(Disk { state, dir: dir.to_owned(), generation: 0, _session: session })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The file under which the image is seen; another one after each [`Disk::insert`].
    pub(crate) fn file(&self) -> PathBuf {
        self.dir.join(self.generation.to_string())
    }

    pub(crate) fn insert(&mut self, image: Image) {
        self.state().image = image;
        self.generation += 1;
    }

    /// Remembers from now on; what is on the disk now.
    pub(crate) fn start_record(&self) -> Image {
        let mut state = self.state();
        state.ops = Some(Vec::new());
        state.image.clone()
    }

    pub(crate) fn end_record(&self) -> Vec<Op> {
        self.state().ops.take().unwrap_or_default()
    }

    /// Says how long the record is.
    pub(crate) fn position(&self) -> impl Fn() -> usize + use<> {
        let state = self.state.clone();
        move || state.lock().unwrap_or_else(PoisonError::into_inner).ops.as_ref().map_or(0, Vec::len)
    }
}

/// Answers the kernel.
struct Server {
    state: Arc<Mutex<State>>,
}

/// The files' names are numbers, and this far from their inodes.
const FIRST_INODE: u64 = 2;
const FOREVER: Duration = Duration::from_secs(1 << 30);

impl Server {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn attributes(&self, inode: INodeNo) -> FileAttr {
        let is_file = inode != INodeNo::ROOT;
        let size = if is_file { self.state().image.bytes() as u64 } else { 0 };
        FileAttr {
            ino: inode,
            size,
            blocks: size / SECTOR as u64,
            atime: UNIX_EPOCH,
            mtime: UNIX_EPOCH,
            ctime: UNIX_EPOCH,
            crtime: UNIX_EPOCH,
            kind: if is_file { FileType::RegularFile } else { FileType::Directory },
            perm: if is_file { 0o600 } else { 0o700 },
            nlink: 1,
            uid: 0,
            gid: 0,
            rdev: 0,
            blksize: BLOCK as u32,
            flags: 0,
        }
    }
}

impl Filesystem for Server {
    fn lookup(&self, _: &Request, _: INodeNo, name: &OsStr, reply: ReplyEntry) {
        match name.to_str().and_then(|name| name.parse::<u64>().ok()) {
            Some(number) => {
                let attributes = self.attributes(INodeNo(number + FIRST_INODE));
                reply.entry(&FOREVER, &attributes, Generation(0));
            }
            None => reply.error(Errno::ENOENT),
        }
    }

    fn getattr(&self, _: &Request, inode: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        reply.attr(&FOREVER, &self.attributes(inode));
    }

    fn open(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        reply.opened(FileHandle(0), FopenFlags::empty());
    }

    fn read(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let bytes = self.state().image.read(offset as usize, size as usize);
        reply.data(&bytes);
    }

    fn write(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let (mut guard, at) = (self.state(), offset as usize);
        let state = &mut *guard;
        state.image.write(at, data);
        if let Some(ops) = &mut state.ops {
            ops.push(Op::Write { at, bytes: data.into() });
        }
        drop(guard);
        reply.written(data.len() as u32); // requests are of 1 MiB at most
    }

    fn fsync(&self, _: &Request, _: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        if let Some(ops) = &mut self.state().ops {
            ops.push(Op::Flush);
        }
        reply.ok();
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.ok();
    }
}
