package bolthole

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

const (
	kib = 1 << 10
	mib = 1 << 20

	defaultTimeout       = 10 * time.Second
	defaultKeepAlive     = 20 * time.Second
	defaultMessageBytes  = 33 * mib
	minMessageBytes      = 64 * kib
	defaultDocumentBytes = 256 * mib
	defaultRowBytes      = 64 * mib
)

// An Option changes how Connect connects. The options WithDataFolder, WithTarget and WithEnvironment say to which daemon; without
// one of them, Connect uses the environment.
type Option func(*options) error

type options struct {
	place  string
	target target
	// token is that of WithToken, and folderToken that of the data folder.
	token, folderToken string
	timeout            time.Duration
	keepAlive          time.Duration
	maxMessageBytes    int
	documentBytes      int64
	rowBytes           int64
	socketOwner        *uint32
}

// WithDataFolder connects to the daemon that serves a data folder: over its socket, or, when the socket is not there, over TCP with
// the token in the folder. With the engine sqlite, path is the database file.
func WithDataFolder(path string) Option {
	return func(o *options) error {
		if path == "" {
			return errors.New("bolthole: WithDataFolder: expected the path of a data folder, found no characters")
		}
		found, token, err := folderTarget(path)
		if err != nil {
			return err
		}
		o.folderToken = token
		return o.choose("WithDataFolder", found)
	}
}

// WithTarget connects to a target: the path of a socket or of a data folder, with or without "unix:", or the address of a TCP
// endpoint such as 127.0.0.1:7117, which needs WithToken. White space around it is ignored, and a relative path counts from the
// working directory.
func WithTarget(text string) Option {
	return func(o *options) error {
		found, err := parseTarget(text)
		if err != nil {
			return err
		}
		return o.choose("WithTarget", found)
	}
}

// WithEnvironment connects to the daemon of the data folder that the commands of the daemon use: $BOLTHOLE_DATA, or
// $XDG_STATE_HOME/bolthole, or ~/.local/state/bolthole. It is the default.
func WithEnvironment() Option {
	return func(o *options) error {
		folder, err := environmentFolder()
		if err != nil {
			return err
		}
		found, token, err := folderTarget(folder)
		if err != nil {
			return err
		}
		o.folderToken = token
		return o.choose("WithEnvironment", found)
	}
}

func (o *options) choose(name string, found target) error {
	if o.place != "" {
		return fmt.Errorf("bolthole: expected one of WithDataFolder, WithTarget and WithEnvironment, found %s and %s", o.place, name)
	}
	o.place, o.target = name, found
	return nil
}

// WithToken sets the bearer token of a TCP endpoint: the content of the file token in the data folder. White space around it is
// ignored. A socket needs no token.
func WithToken(token string) Option {
	return func(o *options) error {
		text := strings.TrimSpace(token)
		if text == "" {
			return errors.New("bolthole: WithToken: expected the content of the file token in the data folder, found no characters")
		}
		for _, c := range []byte(text) {
			if c < 0x21 || c > 0x7e {
				return errors.New("bolthole: WithToken: expected printable ASCII characters without spaces, found others (the token " +
					"is not shown)")
			}
		}
		o.token = text
		return nil
	}
}

// WithTimeout sets the time limit of a call whose context has no deadline, with all retries, and of Connect. Default: 10 seconds.
func WithTimeout(limit time.Duration) Option {
	return func(o *options) error {
		o.timeout = limit
		return positive("WithTimeout", limit)
	}
}

// WithKeepAlive sets how long a connection may be silent during a call before the client sends a ping. Without a reply within the
// same time, the client opens a new connection and retries. Default: 20 seconds. gRPC uses at least 10 seconds for the first of
// the two times.
func WithKeepAlive(interval time.Duration) Option {
	return func(o *options) error {
		o.keepAlive = interval
		return positive("WithKeepAlive", interval)
	}
}

func positive(name string, value time.Duration) error {
	if value > 0 {
		return nil
	}
	return fmt.Errorf("bolthole: %s: expected a duration above 0, found %s", name, value)
}

// WithMaxMessageBytes sets the size limit of one gRPC message in both directions: at least 65,536 bytes. A document that needs more
// than half of it is uploaded in chunks. An input row is received in one message. Default: 34,603,008 (33 MiB), which is above the
// default limit of the daemon.
func WithMaxMessageBytes(bytes int) Option {
	return func(o *options) error {
		if bytes < minMessageBytes {
			return fmt.Errorf("bolthole: WithMaxMessageBytes: expected at least %d, found %d", minMessageBytes, bytes)
		}
		o.maxMessageBytes = bytes
		return nil
	}
}

// WithDocumentCacheBytes sets the budget of the document cache, which holds the last document of each runtime by reference, so that
// the next one is sent as a patch. 0 turns it off. The retry cache, which holds what is needed to repeat requests with an unknown
// outcome, has a second budget of the same size. Default: 268,435,456 (256 MiB).
func WithDocumentCacheBytes(bytes int64) Option {
	return func(o *options) error {
		o.documentBytes = bytes
		return notNegative("WithDocumentCacheBytes", bytes)
	}
}

// WithInputRowCacheBytes sets the budget of the input row cache by an estimate of the size of each row. The cache holds copies of
// rows, so that unchanged rows are not sent again. 0 turns it off. Default: 67,108,864 (64 MiB).
func WithInputRowCacheBytes(bytes int64) Option {
	return func(o *options) error {
		o.rowBytes = bytes
		return notNegative("WithInputRowCacheBytes", bytes)
	}
}

func notNegative(name string, bytes int64) error {
	if bytes >= 0 {
		return nil
	}
	return fmt.Errorf("bolthole: %s: expected a number of bytes from 0, found %d", name, bytes)
}

// WithSocketOwner names the user whose daemon is meant, when it runs neither as this user nor as root. Nothing is sent to a unix
// socket of any other user.
func WithSocketOwner(user uint32) Option {
	return func(o *options) error {
		o.socketOwner = &user
		return nil
	}
}

func resolveOptions(given []Option) (*options, error) {
	o := &options{
		timeout: defaultTimeout, keepAlive: defaultKeepAlive, maxMessageBytes: defaultMessageBytes,
		documentBytes: defaultDocumentBytes, rowBytes: defaultRowBytes,
	}
	for _, option := range given {
		if err := option(o); err != nil {
			return nil, err
		}
	}
	if o.place == "" {
		if err := WithEnvironment()(o); err != nil {
			return nil, err
		}
	}
	if o.token == "" {
		o.token = o.folderToken
	}
	return o, nil
}
