package bolthole

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

const (
	socketFile   = "bolthole.sock"
	endpointFile = "endpoint"
	tokenFile    = "token"
	// controlSuffix is the end of the folder that the engine sqlite keeps beside its database file.
	controlSuffix = ".bolthole"
	// maxSmallFile bounds what is read of the files of a data folder.
	maxSmallFile = 64 << 10
)

// target is the address of a daemon: a unix socket, or a host and a port.
type target struct {
	// address is the address as errors show it.
	address string
	// socket is the absolute path of a unix socket, or empty.
	socket string
	// host and port are those of a TCP endpoint.
	host, port string
}

const expectedTarget = `expected the path of a socket or of a data folder ("/path/to/data/bolthole.sock", "unix:./bolthole.sock"), ` +
	`or the address of a TCP endpoint ("127.0.0.1:7117")`

func wrongTarget(text, problem string) error {
	if problem != "" {
		problem = " (" + problem + ")"
	}
	return fmt.Errorf("bolthole: target: %s, found %q%s", expectedTarget, text, problem)
}

var (
	unixTarget  = regexp.MustCompile(`(?is)^unix:(?://)?(.*)$`)
	schemeStart = regexp.MustCompile(`(?i)^[a-z][a-z0-9+.-]*://`)
	hostAndPort = regexp.MustCompile(`(?i)^(?:ipv4:|ipv6:|dns:)?(\[[0-9a-f:.]+\]|[^\s:/\[\]]+):(\d{1,5})$`)
	looksPath   = regexp.MustCompile(`^[.~/]|[/\\]`)
)

// parseTarget returns the address that a caller means. White space around it is removed, a path is made absolute, and for a data
// folder it is the socket of the daemon that serves it.
func parseTarget(given string) (target, error) {
	text := strings.TrimSpace(given)
	if match := unixTarget.FindStringSubmatch(text); match != nil {
		if strings.Trim(match[1], "/") == "" {
			return target{}, wrongTarget(given, "the path is missing")
		}
		return socketAt(absolute(match[1]), given)
	}
	if schemeStart.MatchString(text) {
		return target{}, wrongTarget(given, "an address has no scheme")
	}
	if match := hostAndPort.FindStringSubmatch(text); match != nil {
		port, _ := strconv.Atoi(match[2])
		if port < 1 || port > 65535 {
			return target{}, wrongTarget(given, "a port is from 1 to 65535")
		}
		return target{address: text, host: strings.Trim(match[1], "[]"), port: strconv.Itoa(port)}, nil
	}
	if looksPath.MatchString(text) || (text != "" && kindOf(text) != kindNothing) {
		path := absolute(text)
		// A data folder that a daemon has yet to make.
		if kindOf(path) == kindNothing && !strings.HasSuffix(path, ".sock") {
			path = filepath.Join(path, socketFile)
		}
		return socketAt(path, given)
	}
	return target{}, wrongTarget(given, "")
}

func absolute(path string) string {
	if whole, err := filepath.Abs(path); err == nil {
		return whole
	}
	return path
}

func socketAt(path, given string) (target, error) {
	switch kindOf(path) {
	case kindOther, kindFile:
		return target{}, wrongTarget(given, "that path is neither a socket nor a folder")
	case kindFolder:
		socket := filepath.Join(path, socketFile)
		// The socket is elsewhere when its path in the folder would be too long.
		for _, line := range endpointLines(path) {
			if found, ok := strings.CutPrefix(line, "unix:"); ok {
				socket = found
				break
			}
		}
		return target{address: "unix:" + socket, socket: socket}, nil
	}
	return target{address: "unix:" + path, socket: path}, nil
}

// folderTarget returns the address of the daemon that serves a data folder, and its token: the socket, or the TCP endpoint with
// the token when the socket is not there. data may be the database file of the engine sqlite.
func folderTarget(data string) (target, string, error) {
	folder := absolute(data)
	if kindOf(folder) == kindFile {
		if real, err := filepath.EvalSymlinks(folder); err == nil {
			folder = real
		}
		folder += controlSuffix
	}
	lines := endpointLines(folder)
	for _, line := range lines {
		if socket, ok := strings.CutPrefix(line, "unix:"); ok && kindOf(socket) == kindSocket {
			return target{address: line, socket: socket}, "", nil
		}
	}
	for _, line := range lines {
		if strings.HasPrefix(line, "unix:") {
			continue
		}
		found, err := parseTarget(line)
		if err != nil {
			return target{}, "", fmt.Errorf("bolthole: the file %s of the data folder: %w", endpointFile, err)
		}
		token, err := readSmallFile(filepath.Join(folder, tokenFile))
		if err != nil {
			return target{}, "", fmt.Errorf("bolthole: the token of the TCP endpoint cannot be read: %w", err)
		}
		return found, strings.TrimSpace(token), nil
	}
	// No daemon serves the folder yet, or it was killed: Connect waits for its socket.
	found, err := socketAt(folder, data)
	if kindOf(folder) == kindNothing {
		socket := filepath.Join(folder, socketFile)
		found, err = target{address: "unix:" + socket, socket: socket}, nil
	}
	return found, "", err
}

// environmentFolder returns the data folder that the commands of the daemon use: the one of BOLTHOLE_DATA, or the default.
func environmentFolder() (string, error) {
	if data := os.Getenv("BOLTHOLE_DATA"); data != "" {
		return data, nil
	}
	// The rules of XDG: a relative path is not valid and is ignored.
	if state := os.Getenv("XDG_STATE_HOME"); filepath.IsAbs(state) {
		return filepath.Join(state, "bolthole"), nil
	}
	home, err := os.UserHomeDir()
	if err != nil || !filepath.IsAbs(home) {
		return "", errors.New("bolthole: BOLTHOLE_DATA is not set and this user has no home folder, so there is no default data " +
			"folder; set BOLTHOLE_DATA, or use the option WithDataFolder or WithTarget")
	}
	return filepath.Join(home, ".local", "state", "bolthole"), nil
}

// endpointLines returns the addresses in the endpoint file of a folder, or none.
func endpointLines(folder string) []string {
	text, err := readSmallFile(filepath.Join(folder, endpointFile))
	if err != nil {
		return nil
	}
	return strings.FieldsFunc(text, func(r rune) bool { return r == '\n' || r == '\r' })
}

// readSmallFile reads a regular file. The open of a pipe would wait for its writer.
func readSmallFile(path string) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	if !info.Mode().IsRegular() || info.Size() > maxSmallFile {
		return "", fmt.Errorf("%s is not a small file", path)
	}
	text, err := os.ReadFile(path)
	return string(text), err
}

type pathKind int

const (
	kindNothing pathKind = iota
	kindSocket
	kindFolder
	kindFile
	kindOther
)

func kindOf(path string) pathKind {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		// Nothing is there yet, or it cannot be seen: the attempt to connect says more.
		return kindNothing
	case info.Mode()&fs.ModeSocket != 0:
		return kindSocket
	case info.IsDir():
		return kindFolder
	case info.Mode().IsRegular():
		return kindFile
	}
	return kindOther
}

// isLocal says whether an address can only be that of this machine. A proxy of the environment is not used for it: it would see
// the calls, and the token in them.
func (t target) isLocal() bool {
	if t.socket != "" {
		return true
	}
	host := strings.ToLower(strings.TrimSuffix(t.host, "."))
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	address, err := netip.ParseAddr(host)
	return err == nil && (address.Unmap().IsLoopback() || address.Unmap().IsUnspecified())
}

const (
	// maxSocketPath is the longest path of a socket on Linux in bytes.
	maxSocketPath = 107
	probeTime     = time.Second
)

// connectionProblem returns why no connection can be made, and what to do about it: as the continuation of a sentence.
func (t target) connectionProblem() string {
	const start = "start a daemon with: bolthole serve"
	if len(t.socket) > maxSocketPath {
		return fmt.Sprintf("the path of the socket has %d bytes, and a socket has at most %d", len(t.socket), maxSocketPath)
	}
	folder := "FOLDER"
	if filepath.Base(t.socket) == socketFile {
		folder = filepath.Dir(t.socket)
	}
	data := "--data " + folder
	if database, ok := strings.CutSuffix(folder, controlSuffix); ok && filepath.Base(database) != "" &&
		!strings.HasSuffix(database, "/") {
		data = "--engine sqlite --data " + database
	}
	if t.socket != "" {
		if _, err := os.Stat(t.socket); errors.Is(err, fs.ErrPermission) {
			return "this user may not look into the folder of " + t.socket + "; connect as the user of the daemon"
		} else if err != nil {
			return "there is no socket at " + t.socket + ", so no daemon serves that folder; " + start + " " + data
		}
	}
	network, address := "tcp", net.JoinHostPort(t.host, t.port)
	if t.socket != "" {
		network, address = "unix", t.socket
	}
	probe, err := net.DialTimeout(network, address, probeTime)
	if err == nil {
		_ = probe.Close()
	}
	switch {
	case err == nil || errors.Is(err, os.ErrDeadlineExceeded):
		return t.address + " does not answer as a daemon: check that it is one, and that it is not stopped"
	case isConnectionRefused(err) && t.socket != "":
		return "no process listens at the socket " + t.socket + ", which an earlier daemon left behind; " + start + " " + data
	case isConnectionRefused(err):
		return "no process listens at " + t.address + "; " + start + " --listen " + address
	case t.socket != "" && errors.Is(err, fs.ErrPermission):
		return "this user may not connect to the socket " + t.socket + "; connect as the user of the daemon"
	}
	return t.address + " cannot be reached (" + err.Error() + ")"
}

func isConnectionRefused(err error) bool { return strings.Contains(err.Error(), "refused") }
