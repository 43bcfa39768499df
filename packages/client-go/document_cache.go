package bolthole

import (
	"bytes"
	"hash/crc32"
	"sync"

	pb "github.com/bolthole/bolthole-go/boltholepb"
)

// cachedDocument is the document that a runtime had at one version. This stays true after other writes, because no version is used
// twice.
type cachedDocument struct {
	version Version
	bytes   []byte
	// checksum is the CRC-32 of the bytes when they were committed or loaded. The caller shares the bytes and may change them.
	checksum uint32
}

// hasBytes says whether these are the bytes that were stored at the version. False when the cached bytes were changed since then.
func (d *cachedDocument) hasBytes(document []byte) bool {
	return bytes.Equal(d.bytes, document) && crc32.ChecksumIEEE(d.bytes) == d.checksum
}

// documentCache has the last document of each kind of each runtime that this client committed or loaded. Documents are held by
// reference. A document that the caller changed makes the next commit slower but not wrong: the daemon refuses the patch because of
// its checksum, and the document is then sent in full; and versionOf does not accept changed bytes.
type documentCache struct {
	mu        sync.Mutex
	documents *byteBudget[*cachedDocument]
}

func newDocumentCache(maxBytes int64) *documentCache {
	return &documentCache{documents: newByteBudget[*cachedDocument](maxBytes, 0)}
}

// documentName is the key of a runtime's document of one kind.
func documentName(kind pb.RecordKind, runtimeID string) string {
	return string(rune('0'+int32(kind))) + runtimeID
}

func (c *documentCache) get(kind pb.RecordKind, runtimeID string) *cachedDocument {
	c.mu.Lock()
	defer c.mu.Unlock()
	found, _ := c.documents.get(documentName(kind, runtimeID))
	return found
}

// put holds a document that is stored at its version, in place of the runtime's previous one.
func (c *documentCache) put(kind pb.RecordKind, runtimeID string, document *cachedDocument) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.documents.set(documentName(kind, runtimeID), document, int64(len(document.bytes)+len(runtimeID)))
}

// putLoaded holds a loaded document, unless the runtime's entry changed during the load.
func (c *documentCache) putLoaded(kind pb.RecordKind, runtimeID string, before, document *cachedDocument) {
	c.mu.Lock()
	defer c.mu.Unlock()
	name := documentName(kind, runtimeID)
	if now, _ := c.documents.peek(name); now == before {
		c.documents.set(name, document, int64(len(document.bytes)+len(runtimeID)))
	}
}

func (c *documentCache) forget(kind pb.RecordKind, runtimeID string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.documents.remove(documentName(kind, runtimeID))
}

// versionOf returns the version of the cached session snapshot if document has the same bytes, or "".
func (c *documentCache) versionOf(runtimeID string, document []byte) Version {
	cached := c.get(pb.RecordKind_RECORD_KIND_SESSION_SNAPSHOT, runtimeID)
	if cached == nil || !cached.hasBytes(document) {
		return ""
	}
	return cached.version
}
