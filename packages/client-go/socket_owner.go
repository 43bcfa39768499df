package bolthole

import (
	"errors"
	"fmt"
	"net"
	"os"
)

// foreignSocketError is the refusal of a connection to the socket of another user. Nothing was sent on it.
type foreignSocketError struct{ problem string }

func (e *foreignSocketError) Error() string { return e.problem }

// refuseForeignPeer returns a foreignSocketError unless the daemon at the other end of a unix socket runs as this user, as root,
// or as the user that the caller named. Another user could take the name of a socket when the folder is not protected, receive
// the secrets of the caller, and acknowledge writes.
func refuseForeignPeer(connection net.Conn, socket string, owner *uint32) error {
	user := os.Getuid()
	if user < 0 {
		// A system without user ids.
		return nil
	}
	peer, err := peerOf(connection, socket)
	if err != nil {
		return &foreignSocketError{fmt.Sprintf("the user of the daemon at %s cannot be determined: %v", socket, err)}
	}
	if peer == 0 || peer == uint32(user) || (owner != nil && peer == *owner) {
		return nil
	}
	return &foreignSocketError{fmt.Sprintf("the process at %s runs as user %d, and not as this user (%d) or root, so another program "+
		"may have taken the place of the daemon; if the daemon of that user is meant, name it with the option WithSocketOwner(%d)",
		socket, peer, user, peer)}
}

func isForeign(err error) bool {
	var foreign *foreignSocketError
	return errors.As(err, &foreign)
}
