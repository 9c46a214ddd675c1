//! The memory through which a child passes its values: a memfd, mapped on both sides.

use std::{io, num::NonZeroUsize, os::fd::OwnedFd, ptr::NonNull};

use nix::{
    libc::c_void,
    sys::{
        memfd::{MFdFlags, memfd_create},
        mman::{MapFlags, ProtFlags, mmap, munmap},
        stat::fstat,
    },
    unistd::ftruncate,
};

/// Number of slots of a child's memory: the child fills one while others are compressed.
pub const SLOTS: u32 = 8;
/// Size of a slot. A value of any size needs at most 64 MiB in addition to its own memory; pages that are never touched cost
/// nothing.
pub const SLOT_BYTES: u64 = 8 << 20;
const LENGTH: u64 = SLOTS as u64 * SLOT_BYTES;

/// A child's shared memory, readable here.
#[derive(Debug)]
pub struct SharedMemory {
    descriptor: OwnedFd,
    address: NonNull<c_void>,
    length: usize,
}

// SAFETY: the mapping is read-only here and lives as long as the value; the protocol (a slot is written by the child
// only before it is announced and after it is freed) orders the accesses of the two processes.
unsafe impl Send for SharedMemory {}

impl SharedMemory {
    /// Allocates `SLOTS × SLOT_BYTES`.
    pub fn create() -> io::Result<Self> {
        let descriptor = memfd_create("amore-values", MFdFlags::MFD_CLOEXEC)?;
        ftruncate(&descriptor, LENGTH as i64)?;
        SharedMemory::of(descriptor)
    }

    /// Memory that another process has allocated.
    ///
    /// # Errors
    /// It has another size than `SLOTS × SLOT_BYTES`; errors of the kernel.
    pub fn of(descriptor: OwnedFd) -> io::Result<Self> {
        if fstat(&descriptor)?.st_size != LENGTH as i64 {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("the memory for values does not have {LENGTH} bytes"),
            ));
        }
        let length = NonZeroUsize::new(LENGTH as usize).ok_or(io::ErrorKind::InvalidInput)?;
        // SAFETY: a shared mapping of a file of that length. Whoever else has it does not shrink it.
        let address =
            unsafe { mmap(None, length, ProtFlags::PROT_READ, MapFlags::MAP_SHARED, &descriptor, 0)? };
        Ok(SharedMemory { descriptor, address, length: length.get() })
    }

    /// The descriptor for the child.
    pub fn descriptor(&self) -> &OwnedFd {
        &self.descriptor
    }

    /// Bytes announced by the child; `None` if they are out of range.
    pub fn bytes(&self, offset: u64, count: u64) -> Option<&[u8]> {
        let end = offset.checked_add(count)?;
        if end > self.length as u64 {
            return None;
        }
        // SAFETY: inside the mapping; the child does not write there until it is answered.
        Some(unsafe {
            std::slice::from_raw_parts(
                self.address.as_ptr().cast::<u8>().add(offset as usize),
                count as usize,
            )
        })
    }
}

impl Drop for SharedMemory {
    fn drop(&mut self) {
        // SAFETY: the mapping made in `create`, unmapped once. If this fails it stays mapped, which is harmless.
        let _ = unsafe { munmap(self.address, self.length) };
    }
}
