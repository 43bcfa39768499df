package main

import "hash/fnv"

// State contains all records of a partition. It is never changed, only copied.
type State map[string]Cell

// with returns a copy of the state with one record replaced; nil removes the record.
func (state State) with(record string, cell *Cell) State {
	next := make(State, len(state)+1)
	for name, value := range state {
		next[name] = value
	}
	if cell == nil {
		delete(next, record)
	} else {
		next[record] = *cell
	}
	return next
}

func (state State) equal(other State) bool {
	if len(state) != len(other) {
		return false
	}
	for record, cell := range state {
		if found, isThere := other[record]; !isThere || found != cell {
			return false
		}
	}
	return true
}

// hash does not depend on the order of the map.
func (state State) hash() uint64 {
	var sum uint64
	for record, cell := range state {
		digest := fnv.New64a()
		digest.Write([]byte(record))
		digest.Write([]byte(cell.Digest))
		digest.Write([]byte(cell.Version))
		sum += digest.Sum64()
	}
	return sum
}
