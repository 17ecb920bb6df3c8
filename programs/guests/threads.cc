// Counters, a spin lock, a queue with a condition variable, a shared lock, and futures.
#include <atomic>
#include <condition_variable>
#include <future>
#include <iostream>
#include <map>
#include <queue>
#include <random>
#include <shared_mutex>
#include <stdexcept>
#include <thread>
#include <vector>
using namespace std;

int main()
{
	atomic<long> sum{0};
	atomic_flag spin = ATOMIC_FLAG_INIT;
	long plain = 0;
	vector<thread> threads;
	for (int i = 0; i < 8; i++)
		threads.emplace_back([&] {
			for (int k = 0; k < 20000; k++) {
				sum.fetch_add(k, memory_order_relaxed);
				while (spin.test_and_set(memory_order_acquire))
					this_thread::yield();
				plain++;
				spin.clear(memory_order_release);
			}
		});
	for (auto &t : threads)
		t.join();
	threads.clear();
	cout << sum << ' ' << plain << endl;

	mutex m;
	condition_variable ready;
	queue<int> work;
	long done = 0;
	bool end = false;
	for (int i = 0; i < 3; i++)
		threads.emplace_back([&] {
			for (;;) {
				unique_lock lock(m);
				ready.wait(lock, [&] { return !work.empty() || end; });
				if (work.empty())
					return;
				done += work.front();
				work.pop();
			}
		});
	for (int i = 0; i < 20000; i++) {
		{
			lock_guard lock(m);
			work.push(i);
		}
		ready.notify_one();
	}
	{
		lock_guard lock(m);
		end = true;
	}
	ready.notify_all();
	for (auto &t : threads)
		t.join();
	cout << done << endl;

	shared_mutex shared;
	map<int, int> values;
	vector<future<int>> futures;
	for (int i = 0; i < 4; i++)
		futures.push_back(async(launch::async, [&, i] {
			for (int k = 0; k < 2000; k++) {
				if (k % 10 == 0) {
					unique_lock lock(shared);
					values[k] += i;
				} else {
					shared_lock lock(shared);
					values.count(k);
				}
			}
			if (i == 3)
				throw runtime_error("three");
			return i;
		}));
	for (auto &f : futures)
		try {
			cout << f.get() << ' ';
		} catch (const exception &e) {
			cout << e.what() << endl;
		}
	static thread_local mt19937_64 random(42);
	cout << random() << ' ' << values[1990] << ' ' << normal_distribution<>()(random) << endl;
	return 4;
}
