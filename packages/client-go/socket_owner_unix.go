//go:build unix && !linux

package bolthole

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"syscall"
)

// peerOf returns the user that owns the socket file and its folder: only the owner of a folder, and root, decide which socket is
// in it. It fails when every user can replace files in the folder.
func peerOf(_ net.Conn, socket string) (uint32, error) {
	real, err := filepath.EvalSymlinks(socket)
	if err != nil {
		return 0, err
	}
	owner := uint32(0)
	for _, path := range []string{filepath.Dir(socket), socket, filepath.Dir(real), real} {
		info, err := os.Lstat(path)
		if err != nil {
			return 0, err
		}
		if info.IsDir() && info.Mode().Perm()&0o002 != 0 && info.Mode()&os.ModeSticky == 0 {
			return 0, errors.New("every user can replace the files in the folder " + path + "; run: chmod o-w " + path)
		}
		found, ok := info.Sys().(*syscall.Stat_t)
		if !ok {
			return 0, errors.New("the owner of " + path + " is not known")
		}
		// Root may own a part of the path. The rest must belong to one user.
		if owner != 0 && found.Uid != 0 && found.Uid != owner {
			return 0, errors.New(path + " belongs to another user than the rest of its path")
		}
		if found.Uid != 0 {
			owner = found.Uid
		}
	}
	return owner, nil
}
