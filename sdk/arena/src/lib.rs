//! An allocator for components that are called for moments: small blocks come from an arena.
//!
//! A call goes in and out of a component as two dozen texts, each of which is a block of memory. The
//! standard library's allocator looks for the best place for each, and joins what is given back: work for
//! programs that run for days. A component's memory is thrown away after the call, or used by the next
//! one like it. So blocks here have sixteen, thirty-two, … bytes; one that was given back serves the next of
//! its size, and is never joined with another. What does not fit comes from the standard library.
//!
//! The arena is in the memory that a component begins with: as long as it lasts, memory is not made larger,
//! for which the host would ask the kernel.
//!
//! Linked into a component (`features = ["arena"]` of `cortex-plugin-sdk`), it is the component's
//! allocator. Anywhere else nothing changes.

#![allow(unsafe_code, reason = "memory is handed out")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::UnsafeCell;
use std::mem::MaybeUninit;
use std::ptr;

#[cfg(all(target_family = "wasm", not(target_feature = "atomics")))]
#[global_allocator]
static ALLOCATOR: Arena<{ 256 * 1024 }> = Arena::new();

/// The smallest block, to which all are aligned, in bytes.
const SMALLEST: usize = 16;
/// Sizes of blocks, each twice the one before: up to 64 KiB.
const SIZES: usize = 13;

/// Memory for blocks, of `BYTES` bytes in all.
#[repr(C, align(16))]
pub struct Arena<const BYTES: usize> {
    memory: UnsafeCell<[MaybeUninit<u8>; BYTES]>,
    blocks: UnsafeCell<Blocks>,
}

/// What is there to be handed out.
struct Blocks {
    /// Bytes from which blocks were made.
    used: usize,
    /// Blocks that were given back, by size: the first of each list.
    free: [*mut Free; SIZES],
}

/// A block that was given back.
struct Free {
    next: *mut Free,
}

// SAFETY: a component without atomics has one thread, which no signal interrupts.
#[cfg(all(target_family = "wasm", not(target_feature = "atomics")))]
unsafe impl<const BYTES: usize> Sync for Arena<BYTES> {}

/// Which of the sizes a block of this layout has, if any.
fn size_of(layout: Layout) -> Option<usize> {
    let wanted = layout.size().max(SMALLEST);
    let size = wanted.next_power_of_two().trailing_zeros() as usize;
    let size = size - SMALLEST.trailing_zeros() as usize;
    (size < SIZES && layout.align() <= SMALLEST).then_some(size)
}

impl<const BYTES: usize> Arena<BYTES> {
    /// One that nothing is taken from.
    pub const fn new() -> Self {
        Self {
            memory: UnsafeCell::new([MaybeUninit::uninit(); BYTES]),
            blocks: UnsafeCell::new(Blocks {
                used: 0,
                free: [ptr::null_mut(); SIZES],
            }),
        }
    }

    /// A block of this size; null when there is none left.
    fn take(&self, size: usize) -> *mut u8 {
        // SAFETY: there is one thread, and nothing here is called back, so nobody else has a reference.
        let blocks = unsafe { &mut *self.blocks.get() };
        let free = blocks.free[size];
        if !free.is_null() {
            // SAFETY: whoever gave it back has no more to do with it, and `give` has written a `Free` there.
            blocks.free[size] = unsafe { (*free).next };
            return free.cast();
        }
        let bytes = SMALLEST << size;
        if BYTES - blocks.used < bytes {
            return ptr::null_mut();
        }
        // SAFETY: the block ends where the memory ends or before.
        let block = unsafe { self.memory.get().cast::<u8>().add(blocks.used) };
        blocks.used += bytes;
        block
    }

    /// Gives a block of this size back.
    ///
    /// # Safety
    /// It was taken here with this size, and is not used any more.
    unsafe fn give(&self, block: *mut u8, size: usize) {
        // SAFETY: as in `take`.
        let blocks = unsafe { &mut *self.blocks.get() };
        let free = block.cast::<Free>();
        // SAFETY: blocks are aligned to and have at least sixteen bytes, and this one is nobody's.
        unsafe {
            free.write(Free {
                next: blocks.free[size],
            })
        };
        blocks.free[size] = free;
    }

    fn owns(&self, block: *mut u8) -> bool {
        block.addr().wrapping_sub(self.memory.get().addr()) < BYTES
    }
}

impl<const BYTES: usize> Default for Arena<BYTES> {
    fn default() -> Self {
        Self::new()
    }
}

// SAFETY: blocks do not overlap, have the size and the alignment that were asked for, and stay where they are. None
// of this panics: a size is below `SIZES` by `size_of`.
unsafe impl<const BYTES: usize> GlobalAlloc for Arena<BYTES> {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let block = size_of(layout).map_or(ptr::null_mut(), |size| self.take(size));
        if block.is_null() {
            // SAFETY: the caller's promises are the same ones.
            unsafe { System.alloc(layout) }
        } else {
            block
        }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        match size_of(layout).filter(|_| self.owns(block)) {
            // SAFETY: it is from here, with the size of its layout, by the caller's promise.
            Some(size) => unsafe { self.give(block, size) },
            // SAFETY: it is not from here, so it is from there.
            None => unsafe { System.dealloc(block, layout) },
        }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        let block = size_of(layout).map_or(ptr::null_mut(), |size| self.take(size));
        if block.is_null() {
            // SAFETY: the caller's promises are the same ones.
            return unsafe { System.alloc_zeroed(layout) };
        }
        // SAFETY: it has at least this many bytes. They may have been used before.
        unsafe { block.write_bytes(0, layout.size()) };
        block
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        if !self.owns(block) {
            // SAFETY: it is not from here, so it is from there.
            return unsafe { System.realloc(block, layout, bytes) };
        }
        // SAFETY: the caller promises that `bytes`, rounded up to this alignment, is no overflow.
        let wanted = unsafe { Layout::from_size_align_unchecked(bytes, layout.align()) };
        if size_of(wanted) == size_of(layout) {
            return block;
        }
        // SAFETY: `bytes` is not zero, by the caller's promise.
        let moved = unsafe { self.alloc(wanted) };
        if !moved.is_null() {
            // SAFETY: both have that many bytes, and are different blocks; the old one is not used any more.
            unsafe {
                ptr::copy_nonoverlapping(block, moved, layout.size().min(bytes));
                self.dealloc(block, layout);
            }
        }
        moved
    }
}

#[cfg(test)]
mod tests;
