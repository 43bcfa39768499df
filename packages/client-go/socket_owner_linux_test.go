package bolthole

import (
	"bytes"
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

func TestThePeerOfASocket(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s.sock")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	connection, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close()
	if peer, err := peerOf(connection, socket); err != nil || int(peer) != os.Getuid() {
		t.Errorf("expected this user, found %d %v", peer, err)
	}
	if err := refuseForeignPeer(connection, socket, nil); err != nil {
		t.Errorf("expected an accepted peer, found %v", err)
	}
	one, other := net.Pipe()
	defer one.Close()
	defer other.Close()
	if err := refuseForeignPeer(one, socket, nil); !isForeign(err) {
		t.Errorf("expected a refusal when the user is not known, found %v", err)
	}
}

// TestADaemonOfAnotherUser connects to a process that listens as another user.
func TestADaemonOfAnotherUser(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can start a process as another user")
	}
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip("there is no node")
	}
	folder, err := os.MkdirTemp("", "bh-go-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(folder)
	if err := os.Chmod(folder, 0o777); err != nil {
		t.Fatal(err)
	}
	const nobody = 65534
	socket := filepath.Join(folder, "s.sock")
	program := `require("net").createServer((c)=>c.on("data",()=>console.log("received"))).listen(process.argv[1],()=>console.log("listens"))`
	listener := exec.Command(node, "-e", program, socket)
	listener.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	listener.Env = []string{"PATH=" + os.Getenv("PATH")}
	listener.Dir = folder
	output, err := listener.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := listener.Start(); err != nil {
		t.Skipf("no process can be started as another user: %v", err)
	}
	defer func() {
		_ = listener.Process.Kill()
		_ = listener.Wait()
	}()
	heard := make([]byte, 64)
	if n, err := output.Read(heard); err != nil || !bytes.HasPrefix(heard[:n], []byte("listens")) {
		t.Skipf("no process can listen as another user: %v", err)
	}
	_, err = Connect(context.Background(), WithTarget(socket), WithToken("secret-token"), WithTimeout(time.Minute))
	if !isReason(err, ErrUnauthenticated) || !isForeign(err) || bytes.Contains([]byte(err.Error()), []byte("secret")) {
		t.Fatalf("expected a refused socket, found %v", err)
	}
	// Named as the owner, it is accepted, and no daemon answers.
	_, err = Connect(context.Background(), WithTarget(socket), WithSocketOwner(nobody), WithTimeout(300*time.Millisecond))
	if isReason(err, ErrUnauthenticated) || err == nil {
		t.Errorf("expected another error, found %v", err)
	}
}
