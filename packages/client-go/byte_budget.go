package bolthole

import "container/list"

// byteBudget is a cache with a budget in bytes. When the budget is used up, the least recently used entry is dropped. It is not safe
// for concurrent use.
type byteBudget[V any] struct {
	maxBytes   int64
	maxEntries int // 0: no limit.
	used       int64
	order      *list.List // The most recently used first.
	entries    map[string]*list.Element
}

type budgetEntry[V any] struct {
	key   string
	value V
	bytes int64
}

func newByteBudget[V any](maxBytes int64, maxEntries int) *byteBudget[V] {
	return &byteBudget[V]{maxBytes: maxBytes, maxEntries: maxEntries, order: list.New(), entries: map[string]*list.Element{}}
}

// get returns the value of a key, and marks it as used.
func (b *byteBudget[V]) get(key string) (V, bool) {
	element, ok := b.entries[key]
	if !ok {
		var none V
		return none, false
	}
	b.order.MoveToFront(element)
	return element.Value.(*budgetEntry[V]).value, true
}

// peek returns the value of a key without marking it as used.
func (b *byteBudget[V]) peek(key string) (V, bool) {
	element, ok := b.entries[key]
	if !ok {
		var none V
		return none, false
	}
	return element.Value.(*budgetEntry[V]).value, true
}

// set replaces the value of a key. A value that is larger than the budget is not kept, and neither is the old one.
func (b *byteBudget[V]) set(key string, value V, bytes int64) {
	b.remove(key)
	bytes = max(1, bytes)
	if bytes > b.maxBytes {
		return
	}
	b.entries[key] = b.order.PushFront(&budgetEntry[V]{key, value, bytes})
	b.used += bytes
	for b.used > b.maxBytes || (b.maxEntries > 0 && len(b.entries) > b.maxEntries) {
		b.remove(b.order.Back().Value.(*budgetEntry[V]).key)
	}
}

func (b *byteBudget[V]) remove(key string) {
	element, ok := b.entries[key]
	if !ok {
		return
	}
	b.used -= element.Value.(*budgetEntry[V]).bytes
	b.order.Remove(element)
	delete(b.entries, key)
}
