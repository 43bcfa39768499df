package bolthole_test

import (
	"io"
	"net"
	"path/filepath"
	"sync"
	"testing"
)

// relay is a unix socket before a daemon that can cut its connections: it passes a request on, and drops the response.
type relay struct {
	path string

	mu sync.Mutex
	// cutsLeft is the number of connections that are cut when the next bytes of a response arrive.
	cutsLeft int
	open     []net.Conn
}

func startRelay(t testing.TB, daemon string) *relay {
	t.Helper()
	r := &relay{path: filepath.Join(t.TempDir(), "relay.sock")}
	listener, err := net.Listen("unix", r.path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = listener.Close()
		r.mu.Lock()
		defer r.mu.Unlock()
		for _, connection := range r.open {
			_ = connection.Close()
		}
	})
	go func() {
		for {
			near, err := listener.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("unix", daemon)
			if err != nil {
				_ = near.Close()
				continue
			}
			r.mu.Lock()
			r.open = append(r.open, near, far)
			r.mu.Unlock()
			go r.pass(near, far, false)
			go r.pass(far, near, true)
		}
	}()
	return r
}

// cut makes the relay cut so many connections, each at the next response.
func (r *relay) cut(connections int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cutsLeft = connections
}

func (r *relay) cuts() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.cutsLeft
}

// pass copies bytes. A frame of HTTP/2 with headers is that of a response: settings and replies to pings are no cause for a cut.
func (r *relay) pass(from, to net.Conn, isResponse bool) {
	defer from.Close()
	defer to.Close()
	header := make([]byte, 9)
	preface := 24
	if isResponse {
		preface = 0
	}
	if _, err := io.CopyN(to, from, int64(preface)); err != nil {
		return
	}
	for {
		if _, err := io.ReadFull(from, header); err != nil {
			return
		}
		const headersFrame = 1
		length := int64(header[0])<<16 | int64(header[1])<<8 | int64(header[2])
		if isResponse && header[3] == headersFrame {
			r.mu.Lock()
			isCut := r.cutsLeft > 0
			if isCut {
				r.cutsLeft--
			}
			r.mu.Unlock()
			if isCut {
				return
			}
		}
		if _, err := to.Write(header); err != nil {
			return
		}
		if _, err := io.CopyN(to, from, length); err != nil {
			return
		}
	}
}
