"""The same VAE in torch: as its official example is laid out, and at its fastest."""

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class Example(nn.Module):
    """The official example's layers: a head for the mean, one for log sigma^2."""

    def __init__(self, start):
        super().__init__()
        self.start = start
        first, (weight, bias), third, fourth = _layers(start)
        (mean, log_sigma), (bias_mean, bias_log_sigma) = weight.chunk(2), bias.chunk(2)
        self.fc1 = _linear(*first)
        self.fc21 = _linear(mean, bias_mean)
        self.fc22 = _linear(2 * log_sigma, 2 * bias_log_sigma)
        self.fc3, self.fc4 = _linear(*third), _linear(*fourth)

    def forward(self, x):
        hidden = torch.tanh(self.fc1(x))
        mean, log_variance = self.fc21(hidden), self.fc22(hidden)
        sigma = torch.exp(0.5 * log_variance)
        z = mean + sigma * torch.randn_like(sigma)
        return self.fc4(torch.tanh(self.fc3(z))), mean, log_variance

    def as_vae(self):
        weight = torch.cat([self.fc21.weight, self.fc22.weight / 2])
        bias = torch.cat([self.fc21.bias, self.fc22.bias / 2])
        layers = [self.fc1, _linear(weight, bias), self.fc3, self.fc4]
        return _as_vae(layers, self.start)


class OneHead(nn.Module):
    """The same networks with both heads in one product of matrices."""

    def __init__(self, start):
        super().__init__()
        self.start = start
        self.layers = nn.ModuleList(_linear(*layer) for layer in _layers(start))

    def forward(self, x):
        first, heads, third, fourth = self.layers
        mean, log_sigma = heads(torch.tanh(first(x))).chunk(2, dim=1)
        z = mean + torch.exp(log_sigma) * torch.randn_like(mean)
        return fourth(torch.tanh(third(z))), mean, 2 * log_sigma

    def as_vae(self):
        return _as_vae(self.layers, self.start)


def as_example(start, x, epochs, batch_size, rate, sigma_x):
    """Batches by a DataLoader, plain Adam, and the loss read at each step."""
    model = Example(start)
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    points = TensorDataset(torch.from_numpy(x))
    loader = DataLoader(points, batch_size=batch_size, shuffle=True)
    for _ in range(epochs):
        total = 0.0
        for (batch,) in loader:
            total += _step(model, optimizer, batch, sigma_x).item()
    return model.as_vae()


def fused(start, x, epochs, batch_size, rate, sigma_x):
    """Batches sliced from one tensor, and Adam in one fused kernel."""
    model = OneHead(start)
    optimizer = torch.optim.Adam(model.parameters(), lr=rate, fused=True)
    points = torch.from_numpy(x)
    for _ in range(epochs):
        for batch in torch.randperm(len(points)).split(batch_size):
            _step(model, optimizer, points[batch], sigma_x)
    return model.as_vae()


def _step(model, optimizer, x, sigma_x):
    optimizer.zero_grad()
    decoded, mean, log_variance = model(x)
    score = (x - decoded).pow(2).sum() / (2 * sigma_x**2)
    kl = -0.5 * torch.sum(1 + log_variance - mean.pow(2) - log_variance.exp())
    loss = (score + kl) / len(x)
    loss.backward()
    optimizer.step()
    return loss


def _layers(start):
    """Weights and biases of the encoder's two layers and then of the decoder's two."""
    return [
        (torch.tensor(np.asarray(weight).T.copy()), torch.tensor(np.asarray(bias)))
        for network in start
        for weight, bias in zip(*network, strict=True)
    ]


def _linear(weight, bias):
    layer = nn.Linear(*reversed(weight.shape))
    layer.weight, layer.bias = nn.Parameter(weight), nn.Parameter(bias)
    return layer


def _as_vae(layers, like):
    weights = [layer.weight.detach().numpy().T for layer in layers]
    biases = [layer.bias.detach().numpy() for layer in layers]
    return like._replace(
        encoder=like.encoder._replace(
            weights=tuple(weights[:2]), biases=tuple(biases[:2])
        ),
        decoder=like.decoder._replace(
            weights=tuple(weights[2:]), biases=tuple(biases[2:])
        ),
    )
