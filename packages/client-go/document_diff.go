package bolthole

import (
	"bytes"

	pb "github.com/bolthole/bolthole-go/boltholepb"
)

const (
	// minPatchedBytes: a smaller document is always sent in full, because a patch would not save noticeable time.
	minPatchedBytes = 16 * kib
	// pieceBytes is the estimated size of one piece in a message, without its new bytes.
	pieceBytes = 16
)

// patchLimits are the daemon's limits for one patch.
type patchLimits struct {
	pieces, insertBytes int
}

// piece is a range of the base, or new bytes.
type piece struct {
	offset, length int
	insert         []byte
}

// createPatch returns a document, whose CRC-32 is checksum, as a patch of the base. It returns nil when the document is better sent
// in full: it is small, it has little in common with the base, or the patch would exceed the limits.
func createPatch(base *cachedDocument, document []byte, checksum uint32, limits patchLimits) *pb.SnapshotPatch {
	if len(document) < minPatchedBytes {
		return nil
	}
	pieces := diffDocuments(base.bytes, document, limits)
	if pieces == nil {
		return nil
	}
	cost := 0
	for _, one := range pieces {
		cost += pieceBytes + len(one.insert)
	}
	if cost > len(document)/2 {
		return nil
	}
	// The checksum is computed from the new document itself, not from its pieces. So it also proves to the daemon that the cached
	// bytes are still those of the base version.
	patch := &pb.SnapshotPatch{
		BaseVersion: string(base.version), ResultLength: uint64(len(document)), ResultCrc32: checksum,
		Pieces: make([]*pb.Piece, len(pieces)),
	}
	for i, one := range pieces {
		if one.insert != nil {
			patch.Pieces[i] = &pb.Piece{From: &pb.Piece_Insert{Insert: one.insert}}
			continue
		}
		copied := &pb.Range{Offset: uint64(one.offset), Length: uint64(one.length)}
		patch.Pieces[i] = &pb.Piece{From: &pb.Piece_Copy{Copy: copied}}
	}
	return patch
}

// diffDocuments returns the new document as ranges of the base and new bytes; the new bytes share memory with next. It returns nil
// when the result would exceed the limits. packages/conformance/cases/patches.json has the pieces that every client must find.
//
// The common beginning and the common end each cost one memory comparison. Between them, a matchFinder finds ranges that are near
// their old place, and in long gaps also ranges from anywhere in the base.
func diffDocuments(base, next []byte, limits patchLimits) []piece {
	prefix := commonAfter(base, 0, next, 0, min(len(base), len(next)))
	suffix := commonBefore(base, len(base), next, len(next), min(len(base), len(next)-prefix))
	end := len(next) - suffix
	finder := &matchFinder{base: base, next: next, searchLeft: maxBaseSearches * len(base)}
	patch := &patchBuilder{next: next, limits: limits, pieces: []piece{}}
	patch.copy(0, prefix)
	at, baseAt := prefix, prefix
	for at < end {
		found, ok := finder.find(gap{at: at, end: end, baseAt: baseAt, baseEnd: len(base) - suffix})
		if !ok {
			found = match{at: end}
		}
		patch.insert(at, found.at)
		if ok {
			patch.copy(found.baseAt, found.length)
			baseAt = found.baseAt + found.length
		}
		at = found.at + found.length
		if patch.exceedsLimits() {
			return nil
		}
	}
	patch.copy(len(base)-suffix, suffix)
	if patch.exceedsLimits() {
		return nil
	}
	return patch.pieces
}

// patchBuilder has the pieces of a new document, added from its beginning to its end.
type patchBuilder struct {
	next     []byte
	limits   patchLimits
	pieces   []piece
	inserted int
}

// copy adds a range of the base. It joins the range with the last one when it continues it.
func (p *patchBuilder) copy(offset, length int) {
	if length == 0 {
		return
	}
	if n := len(p.pieces); n > 0 && p.pieces[n-1].insert == nil && p.pieces[n-1].offset+p.pieces[n-1].length == offset {
		p.pieces[n-1].length += length
		return
	}
	p.pieces = append(p.pieces, piece{offset: offset, length: length})
}

// insert adds the bytes [start, end) of the new document.
func (p *patchBuilder) insert(start, end int) {
	if start == end {
		return
	}
	p.pieces = append(p.pieces, piece{insert: p.next[start:end:end]})
	p.inserted += end - start
}

func (p *patchBuilder) exceedsLimits() bool {
	return len(p.pieces) > p.limits.pieces || p.inserted > p.limits.insertBytes
}

// match is a range of the new document that is also in the base.
type match struct{ at, baseAt, length int }

// gap is the range of the new document that is not assigned yet, and the range of the base where its bytes are expected.
type gap struct {
	// at is the offset in the new document, and end where the common end begins.
	at, end int
	// baseAt is the offset in the base behind the last match, and baseEnd where the common end begins.
	baseAt, baseEnd int
}

const (
	// minMatchBytes: a shorter match costs more as a piece than its bytes do.
	minMatchBytes = 32
	// nearWindow is how much of the new document is searched for the bytes at a near anchor.
	nearWindow = 64 * kib
	wideWindow = 512 * kib
	// farBytes is how many bytes at a far anchor are searched for.
	farBytes = 64
	// smallGap: a gap up to this length is not searched for in the whole base. It is sent as new bytes.
	smallGap = 2048
	// maxBaseSearches is how many times the length of the base may be searched in one diff.
	maxBaseSearches = 8
)

var (
	// nearAnchors are offsets behind the last match in the base from which bytes are searched for in the new document.
	nearAnchors = []int{0, 32, 64, 128, 256, 512, 1024, 2048, 4096}
	// firstFarAnchor is the first offset in a gap whose bytes are searched for in the whole base. Earlier bytes are often a new
	// id or time.
	firstFarAnchor  = []int{1024}
	otherFarAnchors = []int{128, 4096, 16 * kib, 64 * kib, 256 * kib, 1024 * kib, 0}
)

// matchFinder finds ranges of a new document in its base. The time is bounded by a multiple of the base's length.
type matchFinder struct {
	base, next []byte
	searchLeft int
}

// find returns the next match in the gap. False: the rest of the gap counts as new bytes.
func (f *matchFinder) find(g gap) (match, bool) {
	if found, ok := f.findNear(g, nearWindow); ok {
		return found, true
	}
	// A copied or moved text may come before the base continues; that is tried before a long insertion.
	if found, ok := f.findFar(g, firstFarAnchor); ok {
		return found, true
	}
	if g.end-g.at > nearWindow {
		if found, ok := f.findNear(g, wideWindow); ok {
			return found, true
		}
	}
	return f.findFar(g, otherFarAnchors)
}

// findNear finds an edit in place: the base continues after some inserted or some removed bytes.
func (f *matchFinder) findNear(g gap, size int) (match, bool) {
	window := f.next[g.at:min(g.end, g.at+size)]
	for _, anchor := range nearAnchors {
		baseAt := g.baseAt + anchor
		if baseAt+minMatchBytes > g.baseEnd {
			break
		}
		if found := f.uniquePlace(window, baseAt); found >= 0 {
			return f.extend(g, g.at+found, baseAt, g.baseAt), true
		}
	}
	return match{}, false
}

// uniquePlace returns where the bytes at baseAt are in the window, or -1 when they are not there or more than once in either
// document: repeated bytes, such as those between any two messages, do not identify a place.
func (f *matchFinder) uniquePlace(window []byte, baseAt int) int {
	anchor := f.base[baseAt : baseAt+minMatchBytes]
	found := bytes.Index(window, anchor)
	if found < 0 || bytes.Contains(window[found+1:], anchor) {
		return -1
	}
	behind := f.base[min(baseAt+1, len(f.base)):min(baseAt+1+len(window), len(f.base))]
	if bytes.Contains(behind, anchor) {
		return -1
	}
	return found
}

// findFar finds text that was moved, or copied from another place in the base.
func (f *matchFinder) findFar(g gap, anchors []int) (match, bool) {
	if g.end-g.at <= smallGap {
		return match{}, false
	}
	for _, anchor := range anchors {
		at := g.at + anchor
		if at+farBytes > g.end {
			continue
		}
		if f.searchLeft <= 0 {
			return match{}, false
		}
		wanted := f.next[at : at+farBytes]
		after := bytes.Index(f.base[g.baseAt:], wanted)
		if after >= 0 {
			f.searchLeft -= after
			after += g.baseAt
		} else {
			f.searchLeft -= len(f.base) - g.baseAt
		}
		// The last place is tried too: of several bodies in a history, the last one is the most similar.
		last := bytes.LastIndex(f.base, wanted)
		f.searchLeft -= len(f.base) - max(last, 0)
		switch {
		case after < 0 && last < 0:
			continue
		case after < 0:
			return f.extend(g, at, last, 0), true
		}
		first, second := f.extend(g, at, after, 0), f.extend(g, at, last, 0)
		if second.length > first.length {
			return second, true
		}
		return first, true
	}
	return match{}, false
}

// extend extends a match in both directions, in the base not before minBaseAt.
func (f *matchFinder) extend(g gap, at, baseAt, minBaseAt int) match {
	back := commonBefore(f.next, at, f.base, baseAt, min(at-g.at, baseAt-minBaseAt))
	ahead := commonAfter(f.next, at, f.base, baseAt, min(g.end-at, len(f.base)-baseAt))
	return match{at: at - back, baseAt: baseAt - back, length: back + ahead}
}
