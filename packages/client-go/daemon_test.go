package bolthole_test

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bolthole/bolthole-go"
)

// daemonProgram is the compiled daemon of the checkout.
const daemonProgram = "../daemon/dist/cli/main.js"

// daemonHeap bounds the memory of a daemon in these tests.
const daemonHeap = "--max-old-space-size=160"

// startTime bounds the start of a daemon. No test depends on how long it takes.
const startTime = 60 * time.Second

// daemon is a real daemon in a process of its own.
type daemon struct {
	data string
	args []string
	t    testing.TB

	command *exec.Cmd
	output  *lockedBuffer
	ended   chan struct{}
}

type lockedBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// startDaemon starts a daemon on a new data folder. It skips the test when the daemon is not built. The daemon ends with the test.
func startDaemon(t testing.TB, args ...string) *daemon {
	t.Helper()
	if _, err := os.Stat(daemonProgram); err != nil {
		t.Skip("the daemon is not built: run `npx tsc -b` in the checkout")
	}
	// Short, because the path of a socket is limited.
	data, err := os.MkdirTemp("", "bh-go-")
	if err != nil {
		t.Fatal(err)
	}
	d := &daemon{data: data, args: args, t: t}
	t.Cleanup(func() {
		d.kill()
		_ = os.RemoveAll(data)
	})
	d.start()
	return d
}

func (d *daemon) start() {
	d.t.Helper()
	arguments := append([]string{daemonHeap, daemonProgram, "serve", "--data", d.data, "--log-level", "warn"}, d.args...)
	d.command = exec.Command("node", arguments...)
	d.output = &lockedBuffer{}
	d.command.Stdout, d.command.Stderr = d.output, d.output
	for _, variable := range os.Environ() {
		if !strings.HasPrefix(variable, "BOLTHOLE_") {
			d.command.Env = append(d.command.Env, variable)
		}
	}
	if err := d.command.Start(); err != nil {
		d.t.Fatal(err)
	}
	command, ended := d.command, make(chan struct{})
	d.ended = ended
	go func() {
		_ = command.Wait()
		close(ended)
	}()
	// The endpoint file of a killed daemon may still be there, so its own text counts.
	until := time.Now().Add(startTime)
	for !strings.Contains(d.output.String(), "listens on") {
		select {
		case <-ended:
			d.t.Fatalf("the daemon ended:\n%s", d.output)
		case <-time.After(10 * time.Millisecond):
		}
		if time.Now().After(until) {
			d.t.Fatalf("the daemon did not start:\n%s", d.output)
		}
	}
}

// kill ends the daemon as a crash does.
func (d *daemon) kill() {
	if d.command == nil || d.command.Process == nil {
		return
	}
	_ = d.command.Process.Kill()
	<-d.ended
}

func (d *daemon) socket() string { return filepath.Join(d.data, "bolthole.sock") }

// tcpAddress returns the address of the TCP endpoint.
func (d *daemon) tcpAddress() string {
	d.t.Helper()
	lines, err := os.ReadFile(filepath.Join(d.data, "endpoint"))
	if err != nil {
		d.t.Fatal(err)
	}
	for _, line := range strings.Fields(string(lines)) {
		if !strings.HasPrefix(line, "unix:") {
			return line
		}
	}
	d.t.Fatalf("the daemon has no TCP endpoint: %s", lines)
	return ""
}

func (d *daemon) token() string {
	d.t.Helper()
	token, err := os.ReadFile(filepath.Join(d.data, "token"))
	if err != nil {
		d.t.Fatal(err)
	}
	return string(token)
}

// connect connects to the daemon over its socket. The store is closed with the test.
func (d *daemon) connect(opts ...bolthole.Option) *bolthole.Store {
	d.t.Helper()
	return connectTo(d.t, append([]bolthole.Option{bolthole.WithDataFolder(d.data)}, opts...)...)
}

func connectTo(t testing.TB, opts ...bolthole.Option) *bolthole.Store {
	t.Helper()
	store, err := bolthole.Connect(testContext(t), opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	return store
}

// testContext returns a context that is far longer than any test should take.
func testContext(t testing.TB) context.Context {
	ctx, stop := context.WithTimeout(context.Background(), 2*time.Minute)
	t.Cleanup(stop)
	return ctx
}
