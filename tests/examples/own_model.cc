// SPDX-License-Identifier: Apache-2.0
// own_model.cc - a model and an optimizer of your own in C++17: a softmax classifier of three clouds of points, on three
// threads. lockstep makes one mean of the ranks' gradients, RMSprop below does the rest.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <lockstep/replica.h>
#include <memory>
#include <random>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace
{
constexpr int ranks = 3, classes = 3, inputs = 2, batch = 30, steps = 200;

void check(lks_status_t status)
{
    if (status != LKS_OK) {
        throw std::runtime_error(lks_last_error()->message); // this thread's
    }
}

struct Parameter {
    std::string name;
    std::vector<std::int64_t> shape;
    std::vector<float> value;
};

template <auto destroy> struct Destroy {
    template <class T> void operator()(T *object) const
    {
        destroy(object);
    }
};
using Comm = std::unique_ptr<lks_comm_t, Destroy<lks_comm_destroy>>;

// Keeps parameters the same on all ranks. It belongs to the thread of its rank, and must not outlive what it is made of.
class Replica
{
    std::unique_ptr<lks_replica_t, Destroy<lks_replica_destroy>> handle;

  public:
    Replica(lks_comm_t *comm, std::vector<Parameter> &parameters)
    {
        std::vector<lks_replica_param_t> described;
        for (Parameter &p : parameters) {
            described.push_back({p.name.c_str(), LKS_PARAM_WEIGHT, LKS_DTYPE_F32,
                                 static_cast<int>(p.shape.size()), p.shape.data(), p.value.data()});
        }
        lks_replica_t *replica = nullptr;
        check(lks_replica_create(comm, described.data(), described.size(), nullptr, &replica));
        handle.reset(replica);
    }
    void begin()
    {
        check(lks_replica_begin(handle.get()));
    }
    float *grad(std::size_t parameter)
    {
        return static_cast<float *>(lks_replica_grad(handle.get(), parameter));
    }
    void ready(std::size_t parameter)
    {
        check(lks_replica_grad_ready(handle.get(), parameter));
    }
    void finish()
    {
        check(lks_replica_finish(handle.get()));
    }
};

// The mean loss of a batch of this rank, and its gradients.
double learn(const std::vector<Parameter> &parameters, Replica &replica, std::mt19937 &random)
{
    const std::vector<float> &weight = parameters[0].value, &bias = parameters[1].value;
    float *weight_grad = replica.grad(0), *bias_grad = replica.grad(1), loss = 0;
    std::normal_distribution<float> cloud(0, 0.5F);
    std::fill_n(weight_grad, weight.size(), 0.0F);
    std::fill_n(bias_grad, bias.size(), 0.0F);
    for (int i = 0; i < batch; i++) {
        float angle = 2.1F * static_cast<float>(i % classes), score[classes], sum = 0;
        float x = std::sin(angle) + cloud(random), y = std::cos(angle) + cloud(random);
        for (int c = 0; c < classes; c++) {
            score[c] = std::exp(weight[2 * c] * x + weight[2 * c + 1] * y + bias[c]);
            sum += score[c];
        }
        loss -= std::log(score[i % classes] / sum) / batch;
        for (int c = 0; c < classes; c++) {
            float delta = (score[c] / sum - (c == i % classes ? 1.0F : 0.0F)) / batch;
            bias_grad[c] += delta;
            weight_grad[2 * c] += delta * x;
            weight_grad[2 * c + 1] += delta * y;
        }
    }
    replica.ready(1);
    replica.ready(0);
    return loss;
}

struct Rank {
    std::vector<Parameter> parameters{{"weight", {classes, inputs}, std::vector<float>(6)},
                                      {"bias", {classes}, std::vector<float>(3)}};
    double first_loss = 0, loss = 0;
    std::string error;

    void train(lks_comm_t *comm, int rank)
    try {
        Replica replica(comm, parameters);
        std::mt19937 random(static_cast<unsigned>(rank));
        std::vector<std::vector<float>> squares{std::vector<float>(6), std::vector<float>(3)};
        for (int step = 0; step < steps; step++) {
            replica.begin();
            loss = learn(parameters, replica, random);
            replica.finish(); // now every rank has the same gradients, and does the same with them
            for (std::size_t p = 0; p < parameters.size(); p++) {
                for (std::size_t k = 0; k < parameters[p].value.size(); k++) {
                    float grad = replica.grad(p)[k], &square = squares[p][k];
                    square = 0.9F * square + 0.1F * grad * grad;
                    parameters[p].value[k] -= 0.05F * grad / (std::sqrt(square) + 1e-6F);
                }
            }
            first_loss = step == 0 ? loss : first_loss;
        }
    } catch (const std::exception &e) {
        error = e.what();
        lks_comm_abort(comm, e.what()); // or the others would wait
    }
};
} // namespace

int main()
{
    lks_comm_t *made[ranks];
    if (lks_comm_create_local(ranks, nullptr, made) != LKS_OK) {
        std::fprintf(stderr, "%s\n", lks_last_error()->message);
        return 1;
    }
    std::vector<Comm> comms(made, made + ranks);
    std::vector<Rank> all(ranks);
    std::vector<std::thread> threads;
    for (int r = 0; r < ranks; r++) {
        threads.emplace_back(&Rank::train, &all[r], comms[r].get(), r);
    }
    std::for_each(threads.begin(), threads.end(), [](std::thread &thread) { thread.join(); });
    bool good = true;
    for (const Rank &rank : all) {
        std::printf("loss %.4f -> %.4f %s\n", rank.first_loss, rank.loss, rank.error.c_str());
        good = good && rank.error.empty() && rank.loss < rank.first_loss / 2 &&
               rank.parameters[0].value == all[0].parameters[0].value &&
               rank.parameters[1].value == all[0].parameters[1].value;
    }
    return good ? 0 : 1;
}
