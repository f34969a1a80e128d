use super::*;

fn layout(size: usize, align: usize) -> Layout {
    Layout::from_size_align(size, align).expect("a layout")
}

/// A block as its user has it: full of one byte, which nobody else may change.
struct Held<'a> {
    arena: &'a Arena<4096>,
    block: *mut u8,
    layout: Layout,
    full_of: u8,
}

impl<'a> Held<'a> {
    fn new(arena: &'a Arena<4096>, layout: Layout, full_of: u8) -> Self {
        // SAFETY: no layout in these tests is of nothing.
        let block = unsafe { arena.alloc(layout) };
        assert!(!block.is_null() && block.addr().is_multiple_of(layout.align()));
        // SAFETY: it is ours, and that large.
        unsafe { block.write_bytes(full_of, layout.size()) };
        Self {
            arena,
            block,
            layout,
            full_of,
        }
    }

    fn bytes(&self) -> &[u8] {
        // SAFETY: it is ours, that large, and written.
        unsafe { std::slice::from_raw_parts(self.block, self.layout.size()) }
    }

    fn is_intact(&self) -> bool {
        self.bytes().iter().all(|byte| *byte == self.full_of)
    }

    fn resize(&mut self, size: usize) {
        let before = self.layout.size();
        // SAFETY: it is ours, with this layout.
        self.block = unsafe { self.arena.realloc(self.block, self.layout, size) };
        self.layout = layout(size, self.layout.align());
        assert!(
            self.bytes()[..size.min(before)]
                .iter()
                .all(|byte| *byte == self.full_of)
        );
        // SAFETY: as in `new`.
        unsafe { self.block.write_bytes(self.full_of, size) };
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        assert!(self.is_intact());
        // SAFETY: it is ours, with this layout, and nobody uses it any more.
        unsafe { self.arena.dealloc(self.block, self.layout) };
    }
}

#[test]
fn a_block_has_the_next_size_there_is() {
    let size = |bytes, align| size_of(layout(bytes, align));
    for (bytes, expected) in [
        (1, 0),
        (16, 0),
        (17, 1),
        (32, 1),
        (33, 2),
        (4096, 8),
        (65_536, 12),
    ] {
        assert_eq!(size(bytes, 1), Some(expected), "{bytes}");
    }
    assert_eq!(size(65_537, 1), None);
    assert_eq!(size(8, 16), Some(0));
    assert_eq!(size(8, 32), None);
    assert_eq!(size(isize::MAX as usize, 1), None);
}

#[test]
fn what_is_given_back_is_handed_out_again() {
    let arena = Arena::<4096>::new();
    let first = Held::new(&arena, layout(20, 1), 1);
    let (block, second) = (first.block, Held::new(&arena, layout(20, 1), 2));
    assert!(arena.owns(block) && arena.owns(second.block));
    drop(first);
    assert_eq!(Held::new(&arena, layout(32, 8), 3).block, block);
    // Of another size it is another one.
    assert_ne!(Held::new(&arena, layout(33, 8), 4).block, block);
}

#[test]
fn what_does_not_fit_comes_from_elsewhere_and_goes_back_there() {
    let arena = Arena::<4096>::new();
    let held: Vec<Held<'_>> = (0..20)
        .map(|n| Held::new(&arena, layout(500, 4), n))
        .collect();
    let inside = held.iter().filter(|held| arena.owns(held.block)).count();
    assert_eq!(inside, 8);
    assert!(!arena.owns(Held::new(&arena, layout(70_000, 1), 9).block));
    assert!(!arena.owns(Held::new(&arena, layout(64, 64), 9).block));
    drop(held);
    let again = Held::new(&arena, layout(512, 16), 7);
    assert!(arena.owns(again.block));
}

#[test]
fn blocks_grow_and_shrink_with_what_is_in_them() {
    let arena = Arena::<4096>::new();
    let mut held = Held::new(&arena, layout(10, 1), 5);
    let block = held.block;
    held.resize(16);
    assert_eq!(held.block, block);
    for size in [17, 100, 3000, 5000, 80_000, 6000, 20, 1] {
        held.resize(size);
        assert!(held.is_intact());
    }
    // What has left the arena stays outside.
    assert!(!arena.owns(held.block));
}

#[test]
fn zeroed_memory_is_zero_though_it_was_used_before() {
    let arena = Arena::<4096>::new();
    drop(Held::new(&arena, layout(40, 1), 0xFF));
    for size in [40, 100_000] {
        let layout = layout(size, 1);
        // SAFETY: it is of something, and given back with its layout.
        unsafe {
            let block = arena.alloc_zeroed(layout);
            assert!(
                std::slice::from_raw_parts(block, size)
                    .iter()
                    .all(|byte| *byte == 0)
            );
            arena.dealloc(block, layout);
        }
    }
}

#[test]
fn nobody_writes_into_what_another_holds() {
    let arena = Arena::<4096>::new();
    let mut held: Vec<Held<'_>> = Vec::new();
    // Any numbers do, as long as they are the same each time.
    let mut random = 1u64;
    for turn in 0..20_000u32 {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        let size = 1 + (random >> 33) as usize % 700;
        let at = (random >> 20) as usize % (held.len() + 1);
        match (random >> 60) % 4 {
            0 if at < held.len() => drop(held.swap_remove(at)),
            1 if at < held.len() => held[at].resize(size),
            _ if held.len() < 40 => held.push(Held::new(&arena, layout(size, 8), turn as u8)),
            _ => drop(held.pop()),
        }
        assert!(held.iter().all(Held::is_intact));
    }
}
