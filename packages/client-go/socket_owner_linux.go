package bolthole

import (
	"errors"
	"net"
	"syscall"
)

// peerOf returns the user that the kernel recorded when the process at the other end began to listen (SO_PEERCRED).
func peerOf(connection net.Conn, _ string) (uint32, error) {
	unix, ok := connection.(*net.UnixConn)
	if !ok {
		return 0, errors.New("the connection is no unix socket")
	}
	raw, err := unix.SyscallConn()
	if err != nil {
		return 0, err
	}
	var peer *syscall.Ucred
	var failure error
	if err := raw.Control(func(fd uintptr) {
		peer, failure = syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED)
	}); err != nil {
		return 0, err
	}
	if failure != nil {
		return 0, failure
	}
	return peer.Uid, nil
}
