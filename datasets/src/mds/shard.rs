//! The bytes of one sample within a shard; every offset is checked before anything is allocated by it.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use sha1::{Digest, Sha1};

use super::index::{Data, Shard};
use crate::error::{Error, Result, Rule};
use crate::files;

/// A whole shard in memory.
pub(super) type Bytes = Vec<u8>;

/// The most bytes of a shard that is unpacked at once: MDS offsets have 32 bits.
const MAX_SHARD: u64 = u32::MAX as u64;

/// Reads sample `at` of an uncompressed shard from its file.
pub(super) fn read_sample(path: &Path, info: &Shard, at: usize) -> Result<Bytes> {
    let mut file = files::open(path, "an MDS shard")?;
    let length = file.metadata().map_err(Error::io(path, "read"))?.len();
    let mut read = |from: u64, bytes: &mut [u8]| {
        file.seek(SeekFrom::Start(from)).and_then(|_| file.read_exact(bytes)).map_err(Error::io(path, "read"))
    };
    let mut head = [0; 12];
    check_header(path, length, info)?;
    read(0, &mut head[..4])?;
    read(4 + 4 * at as u64, &mut head[4..])?;
    let (from, to) = bounds(path, &head, length, info, at)?;
    let mut bytes = vec![0; (to - from) as usize];
    read(from, &mut bytes)?;
    Ok(bytes)
}

/// Sample `at` of a shard in memory.
pub(super) fn sample_of(shard: &[u8], path: &Path, info: &Shard, at: usize) -> Result<Bytes> {
    check_header(path, shard.len() as u64, info)?;
    let mut head = [0; 12];
    head[..4].copy_from_slice(&shard[..4]);
    head[4..].copy_from_slice(&shard[4 + 4 * at..12 + 4 * at]);
    let (from, to) = bounds(path, &head, shard.len() as u64, info, at)?;
    Ok(shard[from as usize..to as usize].to_vec())
}

/// Where the samples may begin: behind their number and the offsets.
fn header(info: &Shard) -> u64 {
    (info.samples as u64).saturating_add(2).saturating_mul(4)
}

fn check_header(path: &Path, length: u64, info: &Shard) -> Result<()> {
    if length < header(info) {
        let expected = format!("the offsets of {} samples", info.samples);
        return Err(Error::invalid(Rule::Size, path, "offsets", expected, format!("{length} bytes")));
    }
    Ok(())
}

/// The bounds of sample `at`; `head` is the number of samples and the two offsets.
fn bounds(path: &Path, head: &[u8; 12], length: u64, info: &Shard, at: usize) -> Result<(u64, u64)> {
    let word = |k: usize| u64::from(u32::from_le_bytes([head[k], head[k + 1], head[k + 2], head[k + 3]]));
    let (samples, from, to) = (word(0), word(4), word(8));
    if samples != info.samples as u64 {
        let expected = format!("{}, as the index says", info.samples);
        return Err(Error::invalid(Rule::Size, path, "samples", expected, samples.to_string()));
    }
    if from < header(info) || to < from || to > length {
        let expected = format!("bounds in order within {}..{length}", header(info));
        return Err(Error::invalid(Rule::Size, path, format!("offset {at}"), expected, format!("({from}, {to})")));
    }
    Ok((from, to))
}

/// Decompresses a shard, never to more bytes than the index says.
pub(super) fn unpack(folder: &Path, info: &Shard) -> Result<Bytes> {
    let zip = info.zip_data.as_ref().unwrap_or(&info.raw_data);
    let path = folder.join(&zip.basename);
    let size = info.raw_data.bytes;
    if size > MAX_SHARD {
        let expected = format!("at most {MAX_SHARD} bytes uncompressed");
        return Err(Error::invalid(Rule::Size, &path, "raw_data.bytes", expected, size.to_string()));
    }
    let file = files::open(&path, "a compressed MDS shard")?;
    let decoder = zstd::Decoder::new(file).map_err(Error::io(&path, "decompress"))?;
    let mut bytes = Vec::new();
    decoder.take(size + 1).read_to_end(&mut bytes).map_err(Error::io(&path, "decompress"))?;
    if bytes.len() as u64 != size {
        let found = if bytes.len() as u64 > size { "more".to_string() } else { bytes.len().to_string() };
        return Err(Error::invalid(Rule::Size, &path, "file", format!("{size} bytes uncompressed"), found));
    }
    Ok(bytes)
}

/// Checks the file that is on disk, and what it unpacks to.
pub(super) fn verify(folder: &Path, info: &Shard) -> Result<()> {
    let data = info.zip_data.as_ref().unwrap_or(&info.raw_data);
    let path = folder.join(&data.basename);
    let file = files::open(&path, "an MDS shard")?;
    compare(&path, data, sha1_of(file).map_err(Error::io(&path, "read"))?)?;
    if info.zip_data.is_some() {
        let raw = unpack(folder, info)?;
        compare(&path, &info.raw_data, (raw.len() as u64, sha1(&raw)))?;
    }
    Ok(())
}

fn compare(path: &Path, data: &Data, (length, sha1): (u64, String)) -> Result<()> {
    if length != data.bytes {
        return Err(Error::invalid(Rule::Size, path, "file", format!("{} bytes", data.bytes), length.to_string()));
    }
    match data.hashes.get("sha1") {
        Some(expected) if *expected != sha1 => {
            Err(Error::invalid(Rule::Format, path, "file", format!("SHA-1 {expected}"), sha1))
        }
        _ => Ok(()),
    }
}

fn sha1_of(mut file: File) -> std::io::Result<(u64, String)> {
    let (mut hash, mut length, mut block) = (Sha1::new(), 0, vec![0; 1 << 16]);
    loop {
        let n = file.read(&mut block)?;
        if n == 0 {
            return Ok((length, files::hexadecimal(&hash.finalize())));
        }
        hash.update(&block[..n]);
        length += n as u64;
    }
}

pub(super) fn sha1(bytes: &[u8]) -> String {
    files::hexadecimal(&Sha1::digest(bytes))
}
