package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"sort"

	"github.com/anishathalye/porcupine"
)

// Cell is a stored record. Every write of a history has a different digest.
type Cell struct {
	Digest  string `json:"digest"`
	Version string `json:"version"`
	// Fence is the fence token of a lifecycle record; empty when there is none.
	Fence string `json:"fence,omitempty"`
}

// Expected is a record that must have a version; without a version it must be absent.
type Expected struct {
	Record  string  `json:"record"`
	Version *string `json:"version"`
}

// Line is one operation as its client saw it.
type Line struct {
	// Partition is a runtime, or the store's OAuth value.
	Partition string `json:"partition"`
	Client    int    `json:"client"`
	Call      int64  `json:"call"`
	// Return is absent when there was no response: the operation may be applied at any later time, or never.
	Return *int64 `json:"return"`
	// Kind is init, write, read or list.
	Kind string `json:"kind"`

	// Sets are the digests that a write stores; a record without a digest is deleted.
	Sets map[string]*string `json:"sets,omitempty"`
	// Inserts are records that must not exist before the write.
	Inserts  []string   `json:"inserts,omitempty"`
	NewFence string     `json:"newFence,omitempty"`
	Fence    *string    `json:"fence,omitempty"`
	Versions []Expected `json:"versions,omitempty"`
	// IfCurrent is the expectation of a compare-and-set. When it does not hold, the result is missed, not a refusal.
	IfCurrent *Expected `json:"ifCurrent,omitempty"`
	// Result is ok, missed, or the reason of a refusal; empty when there was no response.
	Result  string `json:"result,omitempty"`
	Version string `json:"version,omitempty"`

	// Record and Seen are the record of a read and its content.
	Record string `json:"record,omitempty"`
	Seen   *Cell  `json:"seen,omitempty"`
	// Rows are the input rows of a list.
	Rows map[string]Cell `json:"rows,omitempty"`
}

// History contains the operations of one partition.
type History struct {
	Name  string
	Init  State
	Lines []Line
}

// ReadHistories reads JSON lines and sorts them by partition.
func ReadHistories(source io.Reader) ([]*History, error) {
	byName := map[string]*History{}
	scanner := bufio.NewScanner(source)
	scanner.Buffer(nil, 1<<26)
	for number := 1; scanner.Scan(); number++ {
		if len(scanner.Bytes()) == 0 {
			continue
		}
		var line Line
		if err := json.Unmarshal(scanner.Bytes(), &line); err != nil {
			return nil, fmt.Errorf("line %d: %w", number, err)
		}
		history := byName[line.Partition]
		if history == nil {
			history = &History{Name: line.Partition, Init: State{}}
			byName[line.Partition] = history
		}
		switch line.Kind {
		case "init":
			if line.Seen != nil {
				history.Init = history.Init.with(line.Record, line.Seen)
			}
		case "write", "read", "list":
			history.Lines = append(history.Lines, line)
		default:
			return nil, fmt.Errorf("line %d: unknown kind of operation %q", number, line.Kind)
		}
	}
	histories := make([]*History, 0, len(byName))
	for _, history := range byName {
		histories = append(histories, history)
	}
	sort.Slice(histories, func(i, j int) bool { return histories[i].Name < histories[j].Name })
	return histories, scanner.Err()
}

// LearnVersions sets the version of each write without a response, if a read saw what it wrote, so that the model need
// not guess it. It fails when one write was seen at two versions, or one version belongs to two writes.
func (history *History) LearnVersions() error {
	writers := map[string]int{}
	for index, line := range history.Lines {
		for record, digest := range line.Sets {
			if digest != nil {
				writers[record+" "+*digest] = index
			}
		}
	}
	note := func(record string, seen *Cell) error {
		if seen == nil {
			return nil
		}
		index, isKnown := writers[record+" "+seen.Digest]
		if !isKnown {
			return nil // No client wrote it. The model rejects such a read.
		}
		writer := &history.Lines[index]
		if writer.Version == "" {
			writer.Version = seen.Version
		}
		if writer.Version != seen.Version {
			return fmt.Errorf("%s of one write was seen at versions %s and %s", record, writer.Version, seen.Version)
		}
		return nil
	}
	for _, line := range history.Lines {
		if err := note(line.Record, line.Seen); err != nil {
			return err
		}
		for record, cell := range line.Rows {
			if err := note(record, &cell); err != nil {
				return err
			}
		}
	}
	owners := map[string]int{}
	for index, line := range history.Lines {
		if line.Kind != "write" || line.Version == "" {
			continue
		}
		if other, isTaken := owners[line.Version]; isTaken {
			return fmt.Errorf("writes %d and %d have the same version, %s", other, index, line.Version)
		}
		owners[line.Version] = index
	}
	return nil
}

// Operations returns the lines in the form of porcupine. Operations without a response never return.
func (history *History) Operations() []porcupine.Operation {
	operations := make([]porcupine.Operation, len(history.Lines))
	for index := range history.Lines {
		line := &history.Lines[index]
		end := int64(math.MaxInt64)
		if line.Return != nil {
			end = *line.Return
		}
		operations[index] = porcupine.Operation{ClientId: line.Client, Input: line, Call: line.Call, Return: end}
	}
	return operations
}
